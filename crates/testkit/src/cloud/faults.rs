//! What can go wrong with a call, on demand.

use jiff::SignedDuration;
use ovenbird_core::Error;

/// A fault of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// AWS refuses it with an error that no retry helps; nothing happened.
    Refused,
    /// The caller may not do it. No walk has it: roles are held to what their steps call elsewhere.
    Denied,
    /// It happened, and its reply is lost.
    ReplyLost,
    /// AWS asks to slow down, now and for every such call of the same state, until the retries are spent.
    Throttled,
    /// It is delivered twice: the SDK sent it again because the first reply was lost.
    Twice,
    /// It takes long to get there: whatever else goes on has its turn first.
    Slow,
    /// The function dies before it.
    DiesBefore,
    /// The function dies after it.
    DiesAfter,
    /// The function dies before it, in every try of the same state.
    AlwaysDies,
    /// The execution ends before it, by a hand or with its Region.
    ExecutionEndsBefore,
    /// The execution ends after it.
    ExecutionEndsAfter,
}

impl Fault {
    /// Every fault of a walk.
    pub const ALL: [Self; 10] = [
        Self::Refused,
        Self::ReplyLost,
        Self::Throttled,
        Self::Twice,
        Self::Slow,
        Self::DiesBefore,
        Self::DiesAfter,
        Self::AlwaysDies,
        Self::ExecutionEndsBefore,
        Self::ExecutionEndsAfter,
    ];

    /// Whether the call has its effect all the same.
    pub(super) fn has_effect(self) -> bool {
        match self {
            Self::ReplyLost | Self::Twice | Self::DiesAfter | Self::ExecutionEndsAfter => true,
            Self::Refused
            | Self::Denied
            | Self::Throttled
            | Self::Slow
            | Self::DiesBefore
            | Self::AlwaysDies
            | Self::ExecutionEndsBefore => false,
        }
    }

    /// Whether it comes back with the same call of the same state.
    pub(super) fn stays(self) -> bool {
        matches!(self, Self::Throttled | Self::AlwaysDies)
    }
}

/// What a fault ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// The function's process: Step Functions hears of it as an unknown error.
    Function,
    /// The execution with it.
    Execution,
}

/// How long a slow call is on its way: the others end meanwhile, and no function's time is over yet.
pub const SLOW: SignedDuration = SignedDuration::from_secs(25);

/// What becomes of a call under a fault.
pub(super) enum Outcome {
    Answered,
    Failed(Error),
    Died(Death),
}

pub(super) fn outcome(fault: Fault, action: &str) -> Outcome {
    let aws = |code: &str| Error::Aws {
        operation: action.to_owned(),
        subject: "a fault on demand".into(),
        code: code.into(),
        message: String::new(),
        request_id: String::new(),
    };
    // As the adapters say it: a call without an answer may have been carried out, and is tried again.
    let slow = |code| Error::Throttled { operation: action.to_owned(), source: Some(Box::new(aws(code))) };
    match fault {
        Fault::Refused => Outcome::Failed(aws("InvalidRequest")),
        Fault::Denied => Outcome::Failed(Error::Denied {
            operation: action.to_owned(),
            subject: "a fault on demand".into(),
            source: None,
        }),
        Fault::ReplyLost => Outcome::Failed(slow("NoAnswer")),
        Fault::Throttled => Outcome::Failed(slow("RequestLimitExceeded")),
        Fault::Twice | Fault::Slow => Outcome::Answered,
        Fault::DiesBefore | Fault::DiesAfter | Fault::AlwaysDies => Outcome::Died(Death::Function),
        Fault::ExecutionEndsBefore | Fault::ExecutionEndsAfter => Outcome::Died(Death::Execution),
    }
}
