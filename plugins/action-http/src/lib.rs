//! action-http
