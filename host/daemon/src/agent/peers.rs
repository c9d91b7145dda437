//! What agents ask each other while no host answers: whether anybody knows of a newer epoch. Three lines over TCP.
//!
//! | who | line |
//! |---|---|
//! | asked | `{"challenge":C}`: drawn for this connection |
//! | asks | `{"word":WORD,"mac":M}`, WORD = JSON text of [`Question`], M over C and WORD |
//! | asked | `{"word":WORD,"mac":M}`, WORD = JSON text of [`Answer`], M over the question's own challenge and WORD |
//!
//! Both are signed by HMAC-SHA-256 with the key that the host gave to every agent, and each with the other's challenge: neither a
//! question nor an answer is good for a second time. Nothing that is said is secret.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use tidegate_kernel::contract::Epoch;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::lease::Keeper;
use crate::agents::protocol::Peers;
use crate::lease::confirmations_needed;

/// For a whole question and its answer. Later it would extend the lease by little.
const PATIENCE: Duration = Duration::from_millis(600);
/// The longest line.
const LINE_MAX: u64 = 64 << 10;
/// Others than agents may come.
const CONNECTIONS_MAX: usize = 64;
/// Until an address that is taken is tried again.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

#[derive(Serialize, Deserialize)]
struct Hello {
    challenge: String,
}

#[derive(Serialize, Deserialize)]
struct Signed {
    word: String,
    mac: Vec<u8>,
}

/// Does the one who is asked know of a newer epoch?
#[derive(Debug, Serialize, Deserialize)]
struct Question {
    /// Who asks; one asks itself nothing.
    from: String,
    /// To be signed with the answer.
    challenge: String,
    /// Clusters with the epoch that the asker relies on.
    epochs: Vec<(String, Epoch)>,
}

/// For each cluster of the question whether nothing newer is known.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    confirms: Vec<bool>,
}

/// Asks every other agent about these clusters; `confirmed` is called for each that a majority knows nothing newer of, at once.
pub(super) async fn round(name: &str, peers: &Peers, epochs: &[(String, Epoch)], confirmed: impl Fn(usize)) {
    let needed = confirmations_needed(peers.agents);
    let mut asked = JoinSet::new();
    for address in peers.others.values() {
        let (address, key, name, epochs) = (address.clone(), peers.key.clone(), name.to_owned(), epochs.to_vec());
        asked.spawn(async move { timeout(PATIENCE, ask(&address, &key, name, epochs)).await });
    }
    let mut counts = vec![0; epochs.len()];
    let count = |at: usize, count: usize| {
        if count == needed {
            confirmed(at)
        }
    };
    (0..epochs.len()).for_each(|at| count(at, 0));
    while let Some(answer) = asked.join_next().await {
        let Ok(Ok(Ok(answer))) = answer else { continue };
        for (at, _) in answer.confirms.iter().enumerate().filter(|(at, confirms)| **confirms && *at < epochs.len()) {
            counts[at] += 1;
            count(at, counts[at]);
        }
    }
}

async fn ask(address: &str, key: &[u8], from: String, epochs: Vec<(String, Epoch)>) -> Result<Answer> {
    let mut stream = BufReader::new(TcpStream::connect(address).await.context("connect")?);
    let hello: Hello = read(&mut stream).await?;
    let question = Question { from, challenge: challenge()?, epochs };
    write(&mut stream, &signed(key, &hello.challenge, &question)?).await?;
    let answer: Signed = read(&mut stream).await?;
    let words: Answer = opened(key, &question.challenge, &answer)?;
    ensure!(words.confirms.len() == question.epochs.len(), "an answer to something else");
    Ok(words)
}

/// Answers where the plan says, as long as the agent lives.
pub(super) async fn serve(keeper: Arc<Keeper>, mut peers: watch::Receiver<Option<Peers>>) {
    loop {
        let now = peers.borrow_and_update().clone();
        let changed = async { peers.changed().await.is_err() };
        let gone = match now.and_then(|peers| Some((peers.listen?, peers.key))) {
            None => changed.await,
            Some((listen, key)) => tokio::select! {
                gone = changed => gone,
                () = accept(&keeper, &listen, &key) => false,
            },
        };
        if gone {
            return;
        }
    }
}

/// Ends only if the address cannot be listened at for now.
async fn accept(keeper: &Arc<Keeper>, listen: &str, key: &[u8]) {
    let listener = match TcpListener::bind(listen).await {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, listen, "the other agents cannot ask this one; trying again");
            return sleep(LISTEN_AGAIN).await;
        }
    };
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut visitors = JoinSet::new();
    loop {
        while visitors.try_join_next().is_some() {}
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            sleep(LISTEN_AGAIN).await;
            continue;
        };
        let (keeper, key) = (keeper.clone(), key.to_vec());
        visitors.spawn(async move {
            let answered = timeout(PATIENCE, answer(stream, &keeper, &key)).await;
            if let Ok(Err(error)) = answered {
                tracing::debug!(%error, "refused whoever asked about an epoch");
            }
            drop(permit);
        });
    }
}

async fn answer(stream: TcpStream, keeper: &Keeper, key: &[u8]) -> Result<()> {
    let mut stream = BufReader::new(stream);
    let hello = Hello { challenge: challenge()? };
    write(&mut stream, &hello).await?;
    let question: Question = opened(key, &hello.challenge, &read(&mut stream).await?)?;
    let confirms = question.epochs.iter().map(|(cluster, epoch)| keeper.confirms(cluster, *epoch)).collect();
    write(&mut stream, &signed(key, &question.challenge, &Answer { confirms })?).await
}

fn signed(key: &[u8], challenge: &str, word: &impl Serialize) -> Result<Signed> {
    let word = serde_json::to_string(word)?;
    let mac = mac(key, challenge, &word).finalize().into_bytes().to_vec();
    Ok(Signed { word, mac })
}

fn opened<T: DeserializeOwned>(key: &[u8], challenge: &str, signed: &Signed) -> Result<T> {
    let good = mac(key, challenge, &signed.word).verify_slice(&signed.mac);
    good.ok().context("not signed with the agents' key for this question")?;
    serde_json::from_str(&signed.word).context("of another version")
}

/// A challenge has no line break, so that it cannot run into the word.
fn mac(key: &[u8], challenge: &str, word: &str) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(challenge.as_bytes());
    mac.update(b"\n");
    mac.update(word.as_bytes());
    mac
}

fn challenge() -> Result<String> {
    let mut bytes = [0; 16];
    let drawn = rustls::crypto::ring::default_provider().secure_random.fill(&mut bytes);
    drawn.map_err(|error| anyhow::anyhow!("draw a challenge: {error:?}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

async fn read<T: DeserializeOwned>(stream: &mut BufReader<TcpStream>) -> Result<T> {
    let mut line = String::new();
    stream.take(LINE_MAX).read_line(&mut line).await.context("hear the other side")?;
    serde_json::from_str(&line).context("understand the other side")
}

async fn write(stream: &mut BufReader<TcpStream>, word: &impl Serialize) -> Result<()> {
    let mut line = serde_json::to_vec(word)?;
    line.push(b'\n');
    stream.write_all(&line).await.context("speak to the other side")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_good_with_its_key_and_its_challenge_only() {
        let question = Question { from: "a".into(), challenge: "c".into(), epochs: vec![("orders".into(), 3)] };
        let signed = signed(b"key", "1", &question).unwrap();
        assert_eq!(opened::<Question>(b"key", "1", &signed).unwrap().epochs, question.epochs);
        let changed = Signed { word: signed.word.replace('3', "4"), mac: signed.mac.clone() };
        assert!(opened::<Question>(b"key", "1", &changed).is_err());
        assert!(opened::<Question>(b"other", "1", &signed).is_err());
        assert!(opened::<Question>(b"key", "2", &signed).is_err());
    }
}
