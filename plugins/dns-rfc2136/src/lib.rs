//! dns-rfc2136
