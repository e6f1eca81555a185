//! One run of a target, with its panic caught.

use crate::Target;
use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

/// A panic of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crash {
    /// Source file and line.
    pub place: String,
    /// What the panic said.
    pub message: String,
}

thread_local! {
    static LAST: RefCell<Option<Crash>> = const { RefCell::new(None) };
    static CAUGHT: RefCell<bool> = const { RefCell::new(false) };
}

/// Runs `target` on `input`.
///
/// # Errors
/// When it panicked. Nothing is printed.
pub fn attempt(target: &Target, input: &[u8]) -> Result<(), Crash> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !CAUGHT.with_borrow(|caught| *caught) {
                return before(info);
            }
            let place = info.location();
            LAST.set(Some(Crash {
                place: place.map_or_else(String::new, |l| format!("{}:{}", l.file(), l.line())),
                message: message(info.payload()),
            }));
        }));
    });
    CAUGHT.set(true);
    let result = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    CAUGHT.set(false);
    result.map_err(|_| {
        LAST.take().unwrap_or_else(|| Crash {
            place: "a thread of the target".into(),
            message: String::new(),
        })
    })
}

fn message(payload: &dyn Any) -> String {
    match (
        payload.downcast_ref::<&str>(),
        payload.downcast_ref::<String>(),
    ) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "no message".to_owned(),
    }
}
