//! Sockets and messages: takes a request in, asks the authority, signs and sends the answer.
//!
//! Does not know how a zone is looked up, changed or kept.

use std::net::SocketAddr;
use std::slice::Iter;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hickory_proto::ProtoError;
use hickory_proto::op::{Edns, Header, HeaderCounts, Metadata, OpCode, ResponseCode};
use hickory_proto::rr::{DNSClass, Record, RecordType, TSigResponseContext, TSigner};
use hickory_proto::serialize::binary::BinEncoder;
use hickory_server::net::runtime::Time;
use hickory_server::net::xfer::Protocol;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo, Server};
use hickory_server::zone_handler::{MessageResponse, MessageResponseBuilder};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::spawn_blocking;
use tracing::{info, warn};

use crate::NameserverConfig;
use crate::authority::Authority;
use crate::tsig::{self, Signature};
use crate::zone::Answer;

/// A client that says nothing for so long loses its connection.
const TCP_IDLE: Duration = Duration::from_secs(5);

/// Answers that wait on one TCP connection before its next request is read.
const TCP_ANSWERS_MAX: usize = 32;

/// What passes everywhere unfragmented (DNS flag day 2020).
const UDP_PAYLOAD_MAX: u16 = 1232;

/// Without EDNS nobody takes more (RFC 1035).
const UDP_PAYLOAD_PLAIN: u16 = 512;

/// What a TSIG record has besides the key's name, the algorithm's name and the MAC; rounded up.
const SIGNATURE_BYTES_FIXED: usize = 48;

/// How often port 0 is tried until UDP and TCP get the same one.
const PORT_TRIES: usize = 16;

/// Starts name servers.
#[derive(Debug)]
pub struct Nameserver;

/// A name server at work. Dropping it stops it at once; `stop` lets it finish.
#[must_use = "dropping it stops the name server"]
pub struct Running {
    server: Server<Handler>,
    authority: Arc<Authority>,
    addresses: Vec<SocketAddr>,
}

type Response<'a> = MessageResponse<'a, 'a, Iter<'a, Record>, Iter<'a, Record>, Iter<'a, Record>, Iter<'a, Record>>;

struct Handler {
    authority: Arc<Authority>,
    signers: Vec<TSigner>,
}

impl Nameserver {
    /// Binds all addresses and answers from then on. Fails if the configuration is wrong, an address is taken or the
    /// state cannot be read and written.
    pub async fn start(config: NameserverConfig) -> Result<Running> {
        ensure!(!config.listen.is_empty(), "the name server has no address to listen on");
        let signers = config.signers()?;
        let listen = config.listen.clone();
        let authority = Arc::new(spawn_blocking(move || Authority::open(&config)).await??);
        let mut server = Server::new(Handler { authority: Arc::clone(&authority), signers });
        let mut addresses = Vec::new();
        for address in listen {
            let (udp, tcp) = bind(address).await.with_context(|| format!("bind UDP and TCP on {address}"))?;
            addresses.push(udp.local_addr()?);
            server.register_socket(udp);
            server.register_listener(tcp, TCP_IDLE, TCP_ANSWERS_MAX);
        }
        info!(zone = %authority.current().origin(), ?addresses, "name server started");
        Ok(Running { server, authority, addresses })
    }
}

impl Running {
    /// The first address that it answers on, with the port that it got.
    pub fn local_addr(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// All of them, in the order of the configuration.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Takes no more requests and returns when all sockets are closed and an update under way is whole on disk. A
    /// client that is still waiting then gets no answer and has to read before it repeats.
    pub async fn stop(mut self) -> Result<()> {
        self.server.shutdown_gracefully().await.context("stop the name server")?;
        Ok(spawn_blocking(move || self.authority.settle()).await?)
    }
}

#[async_trait::async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(&self, request: &Request, sender: R) -> ResponseInfo {
        let (answer, signature) = match tsig::check(&self.signers, request, T::current_time()) {
            Signature::Bad(context) => (Answer::nothing(ResponseCode::NotAuth), Some(context)),
            Signature::None => (self.answer(request, false).await, None),
            Signature::Good(context) => (self.answer(request, true).await, Some(context)),
        };
        if answer.code != ResponseCode::NoError {
            info!(from = %request.src(), kind = ?request.metadata.op_code, code = %answer.code, "answered with an error");
        }
        send(request, &answer, signature, sender).await
    }
}

impl Handler {
    async fn answer(&self, request: &Request, signed: bool) -> Answer {
        if request.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
            return Answer::nothing(ResponseCode::BADVERS);
        }
        match request.metadata.op_code {
            OpCode::Query => self.look_up(request),
            OpCode::Update => Answer::nothing(self.update(request, signed).await),
            _ => Answer::nothing(ResponseCode::NotImp),
        }
    }

    fn look_up(&self, request: &Request) -> Answer {
        let [query] = request.queries.queries() else { return Answer::nothing(ResponseCode::FormErr) };
        let zone = self.authority.current();
        let transfer = matches!(query.query_type(), RecordType::AXFR | RecordType::IXFR);
        let ours = query.query_class() == DNSClass::IN && zone.origin().zone_of(query.original().name());
        if transfer || !ours {
            return Answer::nothing(ResponseCode::Refused);
        }
        zone.lookup(query.original().name(), query.query_type())
    }

    /// RFC 2136, section 3.1 and 3.3; the signature comes first, so that strangers cannot ask by prerequisites.
    async fn update(&self, request: &Request, signed: bool) -> ResponseCode {
        let [zone] = request.queries.queries() else { return ResponseCode::FormErr };
        if zone.query_type() != RecordType::SOA {
            return ResponseCode::FormErr;
        }
        let ours = zone.query_class() == DNSClass::IN && zone.original().name() == self.authority.current().origin();
        match (ours, signed) {
            (false, _) => return ResponseCode::NotAuth,
            (true, false) => return ResponseCode::Refused,
            (true, true) => {}
        }
        let authority = Arc::clone(&self.authority);
        let (prerequisites, updates) = (request.answers.clone(), request.authorities.clone());
        let done = spawn_blocking(move || authority.update(&prerequisites, &updates)).await;
        done.unwrap_or(ResponseCode::ServFail)
    }
}

async fn send<R: ResponseHandler>(
    request: &Request,
    answer: &Answer,
    signature: Option<TSigResponseContext>,
    mut sender: R,
) -> ResponseInfo {
    let edns = request.edns.as_ref().map(answer_edns);
    let mut metadata = Metadata::response_from_request(&request.metadata);
    metadata.response_code = answer.code;
    metadata.authoritative = matches!(answer.code, ResponseCode::NoError | ResponseCode::NXDomain);
    let sent = match sign_to_fit(request, metadata, answer, edns.as_ref(), signature) {
        Ok(response) => sender.send_response(response).await,
        Err(error) => Err(error.into()),
    };
    sent.unwrap_or_else(|error| {
        warn!(to = %request.src(), "answer not sent: {error}");
        ResponseInfo::from(Header { metadata, counts: HeaderCounts::default() })
    })
}

/// The whole answer, or, where UDP has no room for it and its signature, none of it and the word to come by TCP.
fn sign_to_fit<'a>(
    request: &'a Request,
    mut metadata: Metadata,
    answer: &'a Answer,
    edns: Option<&'a Edns>,
    signature: Option<TSigResponseContext>,
) -> Result<Response<'a>, ProtoError> {
    let room = match (request.protocol(), edns) {
        (Protocol::Udp, Some(edns)) => usize::from(edns.max_payload()),
        (Protocol::Udp, None) => usize::from(UDP_PAYLOAD_PLAIN),
        _ => usize::from(u16::MAX),
    };
    let (mut answers, mut authorities) = (&answer.answers[..], &answer.authorities[..]);
    let mut bytes = encode(compose(request, metadata, answers, authorities, edns))?;
    if bytes.len() + signature_bytes(request) > room {
        (answers, authorities) = (&[], &[]);
        metadata.truncation = true;
        bytes = encode(compose(request, metadata, answers, authorities, edns))?;
    }
    let mut response = compose(request, metadata, answers, authorities, edns);
    if let Some(signature) = signature {
        response.set_signature(signature.sign(&bytes)?);
    }
    Ok(response)
}

fn compose<'a>(
    request: &'a Request,
    metadata: Metadata,
    answers: &'a [Record],
    authorities: &'a [Record],
    edns: Option<&'a Edns>,
) -> Response<'a> {
    MessageResponseBuilder::new(&request.queries, edns).build(metadata, answers, authorities, &[], &[])
}

/// The answer's signature is as long as the request's: same key, same algorithm.
fn signature_bytes(request: &Request) -> usize {
    let Some(record) = &request.signature else { return 0 };
    record.name.len() + record.data.algorithm.to_name().len() + record.data.mac.len() + SIGNATURE_BYTES_FIXED
}

fn encode(response: Response<'_>) -> Result<Vec<u8>, ProtoError> {
    let mut bytes = Vec::new();
    response.destructive_emit(&mut BinEncoder::new(&mut bytes))?;
    Ok(bytes)
}

fn answer_edns(asked: &Edns) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(asked.max_payload().clamp(UDP_PAYLOAD_PLAIN, UDP_PAYLOAD_MAX));
    edns
}

/// UDP and TCP on one port. Where any will do, the first free UDP port may be taken for TCP, so that it tries again.
async fn bind(address: SocketAddr) -> std::io::Result<(UdpSocket, TcpListener)> {
    let mut tries = PORT_TRIES;
    loop {
        let udp = UdpSocket::bind(address).await?;
        match TcpListener::bind(udp.local_addr()?).await {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(_) if address.port() == 0 && tries > 1 => tries -= 1,
            Err(error) => return Err(error),
        }
    }
}
