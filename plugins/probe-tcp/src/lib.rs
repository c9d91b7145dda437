//! probe-tcp
