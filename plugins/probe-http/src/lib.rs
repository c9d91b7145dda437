//! probe-http
