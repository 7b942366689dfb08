//! The statements: name, text and parameter types of every file in `queries/`.

use tokio_postgres::types::Type;

/// One statement in a file of its own.
#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) name: &'static str,
    pub(crate) sql: &'static str,
    pub(crate) types: &'static [Type],
}

macro_rules! statements {
    ($($name:ident => $file:literal [$($ty:ident),*];)+) => {
        $(pub(crate) const $name: Statement = Statement {
            name: $file,
            sql: include_str!(concat!("../queries/", $file, ".sql")),
            types: &[$(Type::$ty),*],
        };)+

        /// Every statement, for the test that prepares them all.
        #[cfg(test)]
        pub(crate) const ALL: &[Statement] = &[$($name),+];
    };
}

statements! {
    RECORD_EVENT => "record_event" [
        TEXT, TEXT, INT8, BOOL, TEXT, TEXT, TEXT_ARRAY, TEXT, TEXT, TEXT, INT8, BOOL, UUID, UUID,
        TEXT, TEXT, TEXT, TEXT, UUID, TIMESTAMPTZ
    ];
    CHECKOUT => "checkout" [TEXT, TIMESTAMPTZ];
    CREATE_AGENT => "create_agent" [UUID, TEXT, TEXT, TEXT, TEXT, TEXT, UUID, TIMESTAMPTZ];
    COMMAND_AGENT => "command_agent" [UUID, TEXT, TEXT, TEXT, TEXT, UUID, TIMESTAMPTZ];
    TAKE_INVENTORY => "take_inventory" [
        UUID, INT8, TEXT, TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, UUID_ARRAY, TIMESTAMPTZ
    ];
    AGENTS_PAGE => "agents_page" [TEXT, TEXT, TIMESTAMPTZ, UUID, INT8];
    AGENT_EVENTS => "agent_events" [UUID, INT8, INT8];
    OVERVIEW => "overview" [TIMESTAMPTZ, INT8];
    PUT_OFF_JOB => "put_off_job" [UUID, TIMESTAMPTZ, TIMESTAMPTZ];
    DUE_RUN_CANCELS => "due_run_cancels" [TIMESTAMPTZ, INT8];
    KEEP_RUN_CANCEL => "keep_run_cancel" [TEXT, TIMESTAMPTZ];
    CANCEL_RUN => "cancel_run" [UUID, INT8, TIMESTAMPTZ];
    OPEN_DUE_ATTEMPTS => "open_due_attempts" [TIMESTAMPTZ, INT8, TIMESTAMPTZ, UUID];
    ACCEPT_ATTEMPT => "accept_attempt" [UUID, INT8, TEXT, TIMESTAMPTZ];
    REFUSE_ATTEMPT => "refuse_attempt" [
        UUID, INT8, TEXT, INT8_ARRAY, TIMESTAMPTZ, UUID, TIMESTAMPTZ
    ];
    REPORT_PROGRESS => "report_progress" [
        UUID, INT8, TEXT, INT4, INT8, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT, TIMESTAMPTZ,
        TIMESTAMPTZ, TIMESTAMPTZ, TEXT, TIMESTAMPTZ, INT8
    ];
    END_ATTEMPT => "end_attempt" [
        UUID, INT8, TEXT, INT4, TEXT, TEXT, TEXT, TEXT, TEXT, INT8_ARRAY, TEXT, TEXT, TEXT, TEXT,
        TEXT, INT8, TEXT, BOOL, UUID, TIMESTAMPTZ, TEXT_ARRAY, INT8, TEXT
    ];
    OVERDUE_ATTEMPTS => "overdue_attempts" [TIMESTAMPTZ, INT8, INT8];
    POSTPONE_ATTEMPT => "postpone_attempt" [UUID, INT8, BOOL, TIMESTAMPTZ, TIMESTAMPTZ];
    JOBS_WITHOUT_TIMER => "jobs_without_timer" [
        UUID_ARRAY, TIMESTAMPTZ, TIMESTAMPTZ, TIMESTAMPTZ, INT8
    ];
    REMEMBER_TIMER => "remember_timer" [UUID, TIMESTAMPTZ];
    CONTRADICTIONS => "contradictions" [];
    AGENT_STATUS => "agent_status" [UUID, TIMESTAMPTZ];
}
