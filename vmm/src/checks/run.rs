//! The verdict on a command that ran in a guest.

use crate::results::CommandResult;
use crate::topology::RunSpec;

/// The row of a command. `ended` is its exit code and output (stdout and
/// stderr), or why it did not end and what it had printed by then.
pub fn run_result(spec: &RunSpec, ended: Result<(i32, String), (String, String)>) -> CommandResult {
    let (exit, output, mut error) = match ended {
        Ok((exit, output)) => (Some(exit), output, None),
        Err((why, output)) => (None, output, Some(why)),
    };
    if error.is_none() && exit != Some(i32::from(spec.expect_exit)) {
        let code = exit.unwrap_or(-1);
        error = Some(format!("it ended with {code}, not {}", spec.expect_exit));
    }
    if let (None, Some(want)) = (&error, &spec.expect_output)
        && !output.contains(want)
    {
        error = Some(format!("its output does not contain '{want}'"));
    }
    CommandResult {
        guest: spec.guest.clone(),
        command: spec.command.clone(),
        exit,
        output,
        passed: error.is_none(),
        error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Duration;

    #[test]
    fn verdicts() {
        let mut spec = RunSpec {
            guest: "host".into(),
            command: "lspci -nn".into(),
            expect_exit: 0,
            expect_output: Some("1af4".into()),
            timeout: Duration::default(),
        };
        let done = |exit, text: &str| Ok((exit, text.to_owned()));
        assert!(run_result(&spec, done(0, "virtio [1af4:1041]")).passed);
        let row = run_result(&spec, done(0, "nothing"));
        assert_eq!(
            row.error.as_deref(),
            Some("its output does not contain '1af4'")
        );
        let row = run_result(&spec, done(1, "1af4"));
        assert_eq!(row.error.as_deref(), Some("it ended with 1, not 0"));
        let row = run_result(&spec, Err(("timed out after 60s".into(), "1af4".into())));
        assert_eq!(
            (row.passed, row.exit, row.output.as_str()),
            (false, None, "1af4")
        );
        spec.expect_exit = 3;
        spec.expect_output = None;
        assert!(run_result(&spec, done(3, "")).passed);
    }
}
