//! Signs requests and checks the signatures of answers (RFC 8945), by hand: hickory's own needs C code, which guests lack.
//!
//! Pure: the time comes from the caller. Does not know what the messages say.

use hickory_proto::ProtoError;
use hickory_proto::op::{Header, Query};
use hickory_proto::rr::rdata::TSIG;
use hickory_proto::rr::rdata::tsig::{TsigAlgorithm, TsigError, make_tsig_record};
use hickory_proto::rr::{Name, RData, Record};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, BinEncodable, BinEncoder};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Sha256, Sha384, Sha512};

/// How far the two clocks may be apart, in seconds: what RFC 8945 recommends.
const FUDGE_SECONDS: u16 = 300;

/// Where the header has the identifier and the number of additional records.
const ID: std::ops::Range<usize> = 0..2;
const ADDITIONALS: std::ops::Range<usize> = 10..12;

/// How a message is signed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// HMAC with SHA-256.
    #[default]
    HmacSha256,
    /// HMAC with SHA-384.
    HmacSha384,
    /// HMAC with SHA-512.
    HmacSha512,
}

/// What both sides share.
pub struct Key {
    /// As both sides call it.
    pub name: Name,
    /// Which both sides use with it.
    pub algorithm: Algorithm,
    /// The bytes themselves.
    pub secret: Vec<u8>,
}

/// A signed request, and what its answer's signature has to continue.
pub struct Signed {
    /// What goes over the wire.
    pub wire: Vec<u8>,
    mac: Vec<u8>,
}

/// Why an answer is not proven to come from somebody who has the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unproven {
    /// It has no signature.
    Unsigned,
    /// The server says what it has against ours: it is unsigned because the server found no common ground.
    Refused(TsigError),
    /// Signed with another key, or over something else.
    WrongSignature,
    /// Rightly signed, at a time too far from ours.
    WrongTime,
    /// Not a DNS message from beginning to end.
    Malformed,
}

impl Key {
    /// Appends the signature to an encoded message; `now` in seconds since 1970.
    pub fn sign(&self, mut wire: Vec<u8>, now: u64) -> Result<Signed, ProtoError> {
        let id = u16::from_be_bytes([wire[0], wire[1]]);
        let unsigned = TSIG::new(self.algorithm.wire(), now, FUDGE_SECONDS, Vec::new(), id, None, Vec::new());
        let variables = variables(&unsigned, &self.name)?;
        let mac = self.algorithm.mac(&self.secret, &[&wire, &variables]);
        make_tsig_record(self.name.clone(), unsigned.set_mac(mac.clone())).emit(&mut append(&mut wire))?;
        add_to_additionals(&mut wire, 1);
        Ok(Signed { wire, mac })
    }

    /// Whether an answer to `request` was signed with this key, now.
    pub fn verify(&self, answer: &[u8], request: &Signed, now: u64) -> Result<(), Unproven> {
        let (start, name, tsig) = find_signature(answer).map_err(|_| Unproven::Malformed)?.ok_or(Unproven::Unsigned)?;
        if let (Some(error), true) = (tsig.error, tsig.mac.is_empty()) {
            return Err(Unproven::Refused(error));
        }
        if name != self.name || tsig.algorithm != self.algorithm.wire() {
            return Err(Unproven::WrongSignature);
        }
        let mut bare = answer[..start].to_vec();
        bare[ID].copy_from_slice(&tsig.oid.to_be_bytes());
        add_to_additionals(&mut bare, -1);
        let length = u16::try_from(request.mac.len()).map_err(|_| Unproven::Malformed)?.to_be_bytes();
        let variables = variables(&tsig, &name).map_err(|_| Unproven::Malformed)?;
        let parts: [&[u8]; 4] = [&length, &request.mac, &bare, &variables];
        if !self.algorithm.accepts(&self.secret, &parts, &tsig.mac) {
            return Err(Unproven::WrongSignature);
        }
        match tsig.error {
            Some(error) => Err(Unproven::Refused(error)),
            None if tsig.time.abs_diff(now) > u64::from(tsig.fudge) => Err(Unproven::WrongTime),
            None => Ok(()),
        }
    }
}

impl Algorithm {
    fn wire(self) -> TsigAlgorithm {
        match self {
            Self::HmacSha256 => TsigAlgorithm::HmacSha256,
            Self::HmacSha384 => TsigAlgorithm::HmacSha384,
            Self::HmacSha512 => TsigAlgorithm::HmacSha512,
        }
    }

    fn mac(self, secret: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        match self {
            Self::HmacSha256 => fed::<Hmac<Sha256>>(secret, parts).finalize().into_bytes().to_vec(),
            Self::HmacSha384 => fed::<Hmac<Sha384>>(secret, parts).finalize().into_bytes().to_vec(),
            Self::HmacSha512 => fed::<Hmac<Sha512>>(secret, parts).finalize().into_bytes().to_vec(),
        }
    }

    /// In constant time, and only at full length.
    fn accepts(self, secret: &[u8], parts: &[&[u8]], mac: &[u8]) -> bool {
        match self {
            Self::HmacSha256 => fed::<Hmac<Sha256>>(secret, parts).verify_slice(mac).is_ok(),
            Self::HmacSha384 => fed::<Hmac<Sha384>>(secret, parts).verify_slice(mac).is_ok(),
            Self::HmacSha512 => fed::<Hmac<Sha512>>(secret, parts).verify_slice(mac).is_ok(),
        }
    }
}

fn fed<M: Mac + KeyInit>(secret: &[u8], parts: &[&[u8]]) -> M {
    let mut mac = <M as KeyInit>::new_from_slice(secret).expect("HMAC takes a key of any length");
    for part in parts {
        mac.update(part);
    }
    mac
}

/// What is signed besides the message (RFC 8945, section 4.3.3).
fn variables(tsig: &TSIG, name: &Name) -> Result<Vec<u8>, ProtoError> {
    let mut bytes = Vec::new();
    tsig.emit_tsig_for_mac(&mut BinEncoder::new(&mut bytes), name)?;
    Ok(bytes)
}

/// Where the signature begins, whose it is, and what it says; none if the last record is no signature.
fn find_signature(answer: &[u8]) -> Result<Option<(usize, Name, TSIG)>, ProtoError> {
    let mut decoder = BinDecoder::new(answer);
    let Header { counts, .. } = Header::read(&mut decoder)?;
    for _ in 0..counts.queries {
        Query::read(&mut decoder)?;
    }
    let records = u32::from(counts.answers) + u32::from(counts.authorities) + u32::from(counts.additionals);
    let mut last = None;
    for _ in 0..records {
        last = Some((decoder.index(), Record::<RData>::read(&mut decoder)?));
    }
    match last {
        Some((start, Record { name, data: RData::TSIG(tsig), .. })) if counts.additionals > 0 => {
            Ok(Some((start, name, tsig)))
        }
        _ => Ok(None),
    }
}

/// An encoder that goes on at the end and points at nothing before it, since a signature is never compressed.
fn append(wire: &mut Vec<u8>) -> BinEncoder<'_> {
    let end = u32::try_from(wire.len()).unwrap_or(u32::MAX);
    BinEncoder::with_offset(wire, end)
}

fn add_to_additionals(wire: &mut [u8], step: i16) {
    let count = u16::from_be_bytes([wire[ADDITIONALS.start], wire[ADDITIONALS.start + 1]]);
    wire[ADDITIONALS].copy_from_slice(&count.wrapping_add_signed(step).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::{Algorithm, FUDGE_SECONDS, Key, Unproven};
    use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
    use hickory_proto::rr::rdata::tsig::{TsigError, make_tsig_record};
    use hickory_proto::rr::{Name, RecordType, TSigResponseContext, TSigner};

    const NOW: u64 = 1_700_000_000;
    const SECRET: [u8; 4] = *b"test";

    /// An update of example.test. without a change, and its MACs at `NOW` with the key `tidegate.` of the bytes 0 to 31;
    /// computed with Python's hmac and hashlib from the text of RFC 8945.
    const UPDATE: &str = "123428000001000000000000076578616d706c6504746573740000060001";
    const MACS: [(Algorithm, &str); 3] = [
        (Algorithm::HmacSha256, "6004abb84b4448c108f4b8d2780b0ac79f85aa8cf0400c0830db7ad3b8815152"),
        (
            Algorithm::HmacSha384,
            "57c7f4a89724157ce19b3c4f9295babcc08110c6c4fe0fc59af5cf36932005a2f7138efd49d72b01dba262db699cea23",
        ),
        (
            Algorithm::HmacSha512,
            "dc48ef3d25cf6db8698ff05517c4aeb4a01f1c616b3e572963dba00f8a23a0bd9646fe7e6ac7173302debc8bbed63ffde218a2622f7adb6a7a9b96eb88266416",
        ),
    ];

    fn bytes(hex: &str) -> Vec<u8> {
        data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap()
    }

    fn key(name: &str, algorithm: Algorithm, secret: &[u8]) -> Key {
        Key { name: Name::from_ascii(name).unwrap(), algorithm, secret: secret.to_vec() }
    }

    fn reference(key: &Key) -> TSigner {
        TSigner::new(key.secret.clone(), key.algorithm.wire(), key.name.clone(), FUDGE_SECONDS).unwrap()
    }

    fn message(kind: MessageType) -> Vec<u8> {
        let mut message = Message::new(4711, kind, OpCode::Update);
        message.add_query(Query::query(Name::from_ascii("example.test.").unwrap(), RecordType::SOA));
        message.to_vec().unwrap()
    }

    /// An answer as another implementation signs it.
    fn answer(context: TSigResponseContext, code: ResponseCode) -> Vec<u8> {
        let mut answer = Message::from_vec(&message(MessageType::Response)).unwrap();
        answer.metadata.response_code = code;
        let signature = context.sign(&answer.to_vec().unwrap()).unwrap();
        answer.set_signature(signature);
        answer.to_vec().unwrap()
    }

    #[test]
    fn signs_as_the_known_vectors_say() {
        for (algorithm, mac) in MACS {
            let secret: Vec<u8> = (0..32).collect();
            let signed = key("tidegate.", algorithm, &secret).sign(bytes(UPDATE), NOW).unwrap();
            assert_eq!(signed.mac, bytes(mac), "{algorithm:?}");
            let read = Message::from_vec(&signed.wire).unwrap();
            assert_eq!(read.signature().unwrap().data.mac, signed.mac, "{algorithm:?}");
        }
    }

    #[test]
    fn another_implementation_accepts_our_signature_and_we_accept_its() {
        for (algorithm, _) in MACS {
            let key = key("Some.Key.", algorithm, &SECRET);
            let signed = key.sign(message(MessageType::Query), NOW).unwrap();
            reference(&key).verify_message_byte(&signed.wire, None, true).unwrap();
            let context = TSigResponseContext::new(4711, NOW + 5, reference(&key), signed.mac.clone(), None);
            assert_eq!(key.verify(&answer(context, ResponseCode::NoError), &signed, NOW), Ok(()), "{algorithm:?}");
        }
    }

    #[test]
    fn believes_no_answer_that_is_not_proven() {
        let ours = key("tidegate.", Algorithm::HmacSha256, &SECRET);
        let signed = ours.sign(message(MessageType::Query), NOW).unwrap();
        let with = |key: &Key, mac: &[u8], at| {
            answer(TSigResponseContext::new(4711, at, reference(key), mac.to_vec(), None), ResponseCode::NoError)
        };
        let good = with(&ours, &signed.mac, NOW);
        let mut changed = good.clone();
        changed[3] ^= 1;
        let mut cut = good.clone();
        cut.pop();
        let other_secret = with(&key("tidegate.", Algorithm::HmacSha256, b"tes!"), &signed.mac, NOW);
        let other_name = with(&key("stranger.", Algorithm::HmacSha256, &SECRET), &signed.mac, NOW);
        let cases = [
            ("another code", changed, Unproven::WrongSignature),
            ("cut short", cut, Unproven::Malformed),
            ("nothing", Vec::new(), Unproven::Malformed),
            ("unsigned", message(MessageType::Response), Unproven::Unsigned),
            ("another secret", other_secret, Unproven::WrongSignature),
            ("another key", other_name, Unproven::WrongSignature),
            ("to another request", with(&ours, b"other", NOW), Unproven::WrongSignature),
            ("an hour late", with(&ours, &signed.mac, NOW + 3600), Unproven::WrongTime),
        ];
        assert_eq!(ours.verify(&good, &signed, NOW), Ok(()));
        for (case, bytes, why) in cases {
            assert_eq!(ours.verify(&bytes, &signed, NOW), Err(why), "{case}");
        }
    }

    #[test]
    fn a_truncated_mac_proves_nothing() {
        let key = key("tidegate.", Algorithm::HmacSha256, &SECRET);
        let signed = key.sign(message(MessageType::Query), NOW).unwrap();
        let context = TSigResponseContext::new(4711, NOW, reference(&key), signed.mac.clone(), None);
        let mut answer = Message::from_vec(&answer(context, ResponseCode::NoError)).unwrap();
        let mut tsig = answer.take_signature().unwrap().data;
        tsig.mac.truncate(16);
        answer.set_signature(Box::new(make_tsig_record(key.name.clone(), tsig)));
        assert_eq!(key.verify(&answer.to_vec().unwrap(), &signed, NOW), Err(Unproven::WrongSignature));
    }

    #[test]
    fn tells_why_a_server_refused_the_key() {
        let key = key("tidegate.", Algorithm::HmacSha256, &SECRET);
        let signed = key.sign(message(MessageType::Query), NOW).unwrap();
        let late = TSigResponseContext::new(4711, NOW, reference(&key), signed.mac.clone(), Some(TsigError::BadTime));
        let cases = [
            (TSigResponseContext::unknown_key(4711, NOW, key.name.clone()), TsigError::BadKey),
            (TSigResponseContext::bad_signature(4711, NOW, reference(&key)), TsigError::BadSig),
            (late, TsigError::BadTime),
        ];
        for (context, error) in cases {
            let answer = answer(context, ResponseCode::NotAuth);
            assert_eq!(key.verify(&answer, &signed, NOW), Err(Unproven::Refused(error)));
        }
    }
}
