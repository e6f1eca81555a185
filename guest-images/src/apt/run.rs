//! Running apt's client: its private configuration and the meaning of what
//! it prints.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use super::Apt;
use crate::Arch;
use crate::error::{Error, Result};

/// A configuration read after the machine's own, so that it wins: another
/// state and cache directory, one architecture, no hooks of the machine.
pub(super) fn configuration(dir: &Path, arch: Arch) -> String {
    // apt.conf has no escapes inside quotes: `Apt::open` refuses such paths.
    let dir = dir.display();
    let arch = arch.debian();
    format!(
        r#"#clear APT::Architectures;
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Invoke;
#clear DPkg::Post-Invoke;
#clear DPkg::Pre-Install-Pkgs;
APT::Architecture "{arch}";
APT::Architectures:: "{arch}";
APT::Install-Recommends "false";
APT::Install-Suggests "false";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb::DEP-11-icons-small::DefaultEnabled "false";
Acquire::IndexTargets::deb::DEP-11-icons::DefaultEnabled "false";
Acquire::IndexTargets::deb::CNF::DefaultEnabled "false";
Acquire::Retries "3";
Dir::State "{dir}/";
Dir::State::lists "{dir}/lists/";
Dir::State::status "{dir}/status";
Dir::State::extended_states "{dir}/extended_states";
Dir::Cache "{dir}/";
Dir::Cache::archives "{dir}/archives/";
Dir::Cache::pkgcache "{dir}/pkgcache.bin";
Dir::Cache::srcpkgcache "{dir}/srcpkgcache.bin";
Dir::Log "{dir}/log";
Debug::NoLocking "true";
"#
    )
}

impl Apt {
    /// Runs an apt program to its end and returns standard output; `line` is
    /// called for each line as it comes.
    pub(super) fn run(
        &self,
        program: &'static str,
        args: &[&str],
        line: &mut dyn FnMut(&str),
    ) -> Result<String> {
        let no_apt = |source| Error::NoApt { program, source };
        tracing::debug!(program, ?args, "running apt");
        let mut child = Command::new(program)
            .arg("-c")
            .arg(self.dir.join("apt.conf"))
            .args(args)
            .env("LC_ALL", "C")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env_remove("APT_CONFIG")
            .current_dir(self.dir.join("debs"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(no_apt)?;
        let mut stderr = child.stderr.take();
        let drain = std::thread::spawn(move || {
            let mut text = Vec::new();
            if let Some(pipe) = stderr.as_mut() {
                // What was read before an error is still worth showing.
                let _ = pipe.read_to_end(&mut text);
            }
            String::from_utf8_lossy(&text).into_owned()
        });
        let mut out = String::new();
        if let Some(pipe) = child.stdout.take() {
            for text in BufReader::new(pipe).split(b'\n') {
                let text = text.map_err(no_apt)?;
                let text = String::from_utf8_lossy(&text);
                line(&text);
                out.push_str(&text);
                out.push('\n');
            }
        }
        let status = child.wait().map_err(no_apt)?;
        let stderr = drain.join().unwrap_or_default();
        // `apt-get update` succeeds with warnings when every server failed.
        let lost = args.first() == Some(&"update")
            && stderr.contains("Failed to fetch")
            && !out
                .lines()
                .any(|l| l.starts_with("Get:") || l.starts_with("Hit:"));
        if status.success() && !lost {
            return Ok(out);
        }
        Err(self.classify(program, args, status.to_string(), &stderr, &out))
    }

    fn classify(
        &self,
        program: &str,
        args: &[&str],
        status: String,
        stderr: &str,
        out: &str,
    ) -> Error {
        let mut detail = message_lines(stderr);
        if detail.is_empty() {
            detail = message_lines(out);
        }
        let has = |words: &[&str]| words.iter().any(|w| detail.contains(w));
        if has(&["No space left", "don't have enough free space"]) {
            return Error::DiskFull {
                path: self.dir.clone(),
            };
        }
        if has(&["Hash Sum mismatch", "unexpected size"]) {
            return Error::Checksum {
                what: "a package or package list".to_string(),
                expected: "the signed index's value".to_string(),
                found: detail,
            };
        }
        if has(&[
            "Failed to fetch",
            "Unable to fetch",
            "Could not resolve",
            "Could not connect",
            "Temporary failure",
            "Network is unreachable",
            "Connection",
        ]) {
            return Error::Network {
                arch: self.arch.debian(),
                detail: detail.split("; ").next().unwrap_or_default().to_string(),
            };
        }
        Error::Apt {
            command: format!("{program} {}", args.join(" ")),
            status,
            detail,
        }
    }
}

/// apt's errors and warnings, a few lines at most.
fn message_lines(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.starts_with("N:") && !l.contains("not have a stable CLI"))
        .collect();
    let errors: Vec<&str> = lines
        .iter()
        .copied()
        .filter(|l| l.starts_with("E:") || l.starts_with("W:"))
        .collect();
    let chosen = if errors.is_empty() { lines } else { errors };
    let mut shown: Vec<&str> = chosen.iter().take(4).copied().collect();
    if let (true, Some(last)) = (chosen.len() > 4, chosen.last()) {
        shown.push(last);
    }
    shown.join("; ")
}

/// The package that apt says it does not know.
pub(super) fn unknown_package(detail: &str) -> Option<String> {
    let after = |mark: &str| Some(detail.split_once(mark)?.1);
    if let Some(rest) = after("Unable to locate package ") {
        return Some(rest.split([';', ' ']).next()?.to_string());
    }
    if let Some(rest) = after("Version '") {
        let mut quoted = rest.split('\'').step_by(2);
        let (version, name) = (quoted.next()?, quoted.next()?);
        return Some(format!("{name}={version}"));
    }
    let rest = after("Package '").filter(|_| detail.contains("has no installation candidate"))?;
    Some(rest.split('\'').next()?.to_string())
}

/// `dlstatus:FILE:PERCENT:TEXT` of apt's progress reporting.
pub(super) fn download_status(line: &str) -> Option<(u64, f64)> {
    let mut fields = line.strip_prefix("dlstatus:")?.split(':');
    let index = fields.next()?.parse().ok()?;
    let percent: f64 = fields.next()?.parse().ok()?;
    Some((index, percent.clamp(0.0, 100.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_apt_words() {
        assert_eq!(
            unknown_package("E: Unable to locate package nosuch; E: x").as_deref(),
            Some("nosuch")
        );
        assert_eq!(
            unknown_package("E: Package 'awk' has no installation candidate").as_deref(),
            Some("awk")
        );
        assert_eq!(
            unknown_package("E: Version '9' for 'libc6' was not found").as_deref(),
            Some("libc6=9")
        );
        assert_eq!(
            download_status("dlstatus:3:17.8536:Retrieving file 3 of 5"),
            Some((3, 17.8536))
        );
        assert_eq!(download_status("Get:1 http://x"), None);
        assert_eq!(
            message_lines("Reading...\nE: one\nN: note\nW: two\n"),
            "E: one; W: two"
        );
    }
}
