//! Who signed a request, and the signature that its answer gets (RFC 8945).
//!
//! A signed message that somebody repeats within the fudge counts again, as everywhere in DNS: prerequisites are what
//! makes an update safe to repeat. Does not know what a signed request may do.

use hickory_proto::rr::rdata::tsig::TsigError;
use hickory_proto::rr::{TSigResponseContext, TSigner};
use hickory_server::server::Request;

pub(crate) enum Signature {
    /// The request is unsigned.
    None,
    /// Signed with one of our keys, in time; the answer is signed alike.
    Good(TSigResponseContext),
    /// Nothing in the request counts; the answer says why.
    Bad(TSigResponseContext),
}

/// `now` is in seconds since 1970.
pub(crate) fn check(signers: &[TSigner], request: &Request, now: u64) -> Signature {
    let Some(record) = &request.signature else { return Signature::None };
    let id = record.data.oid;
    let Some(signer) = signers.iter().find(|signer| signer.signer_name() == &record.name) else {
        return Signature::Bad(TSigResponseContext::unknown_key(id, now, record.name.clone()));
    };
    if signer.algorithm() != &record.data.algorithm {
        return Signature::Bad(TSigResponseContext::unknown_key(id, now, record.name.clone()));
    }
    let Ok((mac, signed_at, _)) = signer.verify_message_byte(request.as_slice(), None, true) else {
        return Signature::Bad(TSigResponseContext::bad_signature(id, now, signer.clone()));
    };
    let in_time = signed_at.abs_diff(now) <= u64::from(signer.fudge());
    let error = if in_time { None } else { Some(TsigError::BadTime) };
    let answer = TSigResponseContext::new(id, now, signer.clone(), mac, error);
    if in_time { Signature::Good(answer) } else { Signature::Bad(answer) }
}
