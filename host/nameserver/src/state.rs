//! Keeps the zone in one file: replaced as a whole, on disk before anybody is told so.
//!
//! The format is a zone file in the generic notation of RFC 3597, which every DNS server reads and which cannot lose
//! anything: `name ttl IN TYPE1 \# 4 0a01000a`. Writing all of it for each update is meant for zones of up to
//! some ten thousand records. Does not know why the zone changes.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecoder, BinEncodable as _, BinEncoder, NameEncoding, Restrict};

use crate::zone::Zone;

/// The zone as it was last written; none if there is no file yet.
pub(crate) fn read(path: &Path, origin: &Name) -> Result<Option<Zone>> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other.with_context(|| format!("read the zone from {}", path.display()))?,
    };
    let zone = parse(&text, origin).with_context(|| {
        format!("{} is not the zone {origin} as this server writes it; it was left as it is", path.display())
    })?;
    Ok(Some(zone))
}

/// Replaces the file. When this returns, the zone survives the loss of power.
pub(crate) fn write(path: &Path, zone: &Zone) -> Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let new = path.with_added_extension("new");
    let text = print(zone)?;
    let replace = || -> std::io::Result<()> {
        let mut file = File::create(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        File::open(directory)?.sync_all()
    };
    replace().with_context(|| format!("write the zone to {}", path.display()))
}

fn print(zone: &Zone) -> Result<String> {
    let mut text = String::new();
    for record in zone.records() {
        let data = data_bytes(&record.data)?;
        let (name, ttl, code) = (print_name(&record.name)?, record.ttl, u16::from(record.record_type()));
        write!(text, "{name} {ttl} IN TYPE{code} \\# {} ", data.len())?;
        for byte in data {
            write!(text, "{byte:02x}")?;
        }
        text.push('\n');
    }
    Ok(text)
}

fn parse(text: &str, origin: &Name) -> Result<Zone> {
    let mut zone = Zone::new(origin.clone());
    for (index, line) in text.lines().enumerate() {
        let line_number = index + 1;
        let record = parse_record(line).with_context(|| format!("line {line_number}"))?;
        ensure!(origin.zone_of(&record.name), "line {line_number}: {} lies outside the zone", record.name);
        ensure!(zone.insert(record), "line {line_number}: a CNAME beside other records");
    }
    ensure!(zone.soa().is_some(), "it has no SOA record");
    Ok(zone)
}

fn parse_record(line: &str) -> Result<Record> {
    let words: Vec<_> = line.split(' ').collect();
    let [name, ttl, "IN", record_type, "\\#", length, data] = words[..] else {
        anyhow::bail!("expected `name ttl IN TYPEn \\# length data`");
    };
    let code: u16 = record_type.strip_prefix("TYPE").context("expected TYPE and a number")?.parse()?;
    let bytes = from_hex(data)?;
    ensure!(length.parse() == Ok(bytes.len()), "the data is not as long as it says");
    let data =
        RData::read(&mut BinDecoder::new(&bytes), RecordType::from(code), Restrict::new(u16::try_from(bytes.len())?))?;
    Ok(Record::from_rdata(parse_name(name)?, ttl.parse()?, data))
}

/// Bytes that are not part of a host's name are written as `\DDD`, in decimal (RFC 1035); hickory's own notation is
/// octal and does not read everything that it writes.
fn print_name(name: &Name) -> Result<String> {
    let mut text = String::new();
    for label in name.iter() {
        for byte in label {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => text.push(char::from(*byte)),
                _ => write!(text, "\\{byte:03}")?,
            }
        }
        text.push('.');
    }
    Ok(text)
}

fn parse_name(text: &str) -> Result<Name> {
    let text = text.strip_suffix('.').context("a name ends in a dot")?;
    let labels = text.split('.').map(parse_label).collect::<Result<Vec<_>>>()?;
    Ok(Name::from_labels(labels.iter().map(Vec::as_slice))?)
}

fn parse_label(text: &str) -> Result<Vec<u8>> {
    let mut parts = text.split('\\');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_at_checked(3).context("three digits follow a backslash")?;
        bytes.push(code.parse()?);
        bytes.extend(rest.as_bytes());
    }
    Ok(bytes)
}

/// What stands in a message after the length, with names spelt out.
fn data_bytes(data: &RData) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    data.emit(&mut encoder)?;
    Ok(bytes)
}

fn from_hex(text: &str) -> Result<Vec<u8>> {
    ensure!(text.len().is_multiple_of(2) && text.is_ascii(), "expected hexadecimal digits in pairs");
    (0..text.len()).step_by(2).map(|at| Ok(u8::from_str_radix(&text[at..at + 2], 16)?)).collect()
}
