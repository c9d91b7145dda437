//! action-command
