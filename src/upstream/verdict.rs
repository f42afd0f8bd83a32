//! What the head and the trailers of a response say about its backend.

use http::StatusCode;
use message::Fields;
use policy::message::grpc;
use policy::retry::Progress;

use crate::config::plan;
use crate::exchange::Exchange;

/// How a response has ended, as far as it says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Verdict {
    status: StatusCode,
    /// That of a gRPC call.
    call: Option<grpc::Status>,
}

impl Verdict {
    /// What the head of a response says.
    pub(super) fn of(ex: &Exchange, status: StatusCode, fields: &Fields) -> Self {
        Self { status, call: ex.grpc.and_then(|_| grpc::Status::of_head(fields)) }
    }

    /// Whether it counts against the backend.
    pub(super) fn fails(self, plan: &plan::Ejection) -> bool {
        plan.statuses.holds(self.status) || self.call.is_some_and(grpc::Status::is_unavailable)
    }

    /// Whether it counts as an error of the target of a split.
    pub(super) fn is_server_error(self) -> bool {
        self.status.is_server_error() || self.call.is_some_and(grpc::Status::is_server_error)
    }

    /// Whether it is one to try again for, and how far the request counts as having come: a call is repeated for the statuses
    /// of the file as if the backend had not seen it.
    pub(super) fn progress(self, plan: &plan::Retry) -> Option<Progress> {
        if self.call.is_some_and(|status| plan.grpc_statuses.contains(&status.number())) {
            return Some(Progress::Nothing);
        }
        plan.statuses.holds(self.status).then_some(Progress::Answered)
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.call {
            Some(status) => write!(f, "it answered grpc-status {}", status.number()),
            None => write!(f, "it answered {}", self.status.as_u16()),
        }
    }
}
