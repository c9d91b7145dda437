//! RFC 2136, sections 3.2 and 3.4: a zone and an update make the next zone, or a refusal.
//!
//! Pure: the zone that comes in stays as it is, so an update that fails half-way has changed nothing. Does not know
//! who sent the update, or what becomes of the result.

use std::collections::BTreeMap;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use crate::zone::Zone;

/// The zone after the update, with its serial moved on; none if there is nothing to change.
pub(crate) fn apply(zone: &Zone, prerequisites: &[Record], updates: &[Record]) -> Result<Option<Zone>, ResponseCode> {
    check_prerequisites(zone, prerequisites)?;
    for update in updates {
        check_form(zone, update)?;
    }
    let mut next = zone.clone();
    for update in updates {
        apply_one(&mut next, update);
    }
    if next == *zone {
        return Ok(None);
    }
    if next.soa().map(|soa| soa.serial) == zone.soa().map(|soa| soa.serial) {
        next.increase_serial();
    }
    Ok(Some(next))
}

/// Section 3.2.5.
fn check_prerequisites(zone: &Zone, prerequisites: &[Record]) -> Result<(), ResponseCode> {
    let mut wanted_sets: BTreeMap<(&Name, RecordType), Vec<&RData>> = BTreeMap::new();
    for wanted in prerequisites {
        if wanted.ttl != 0 {
            return Err(ResponseCode::FormErr);
        }
        check_in_zone(zone, &wanted.name)?;
        match wanted.dns_class {
            DNSClass::ANY => check_present(zone, wanted)?,
            DNSClass::NONE => check_absent(zone, wanted)?,
            DNSClass::IN if is_record(wanted) => {
                wanted_sets.entry((&wanted.name, wanted.record_type())).or_default().push(&wanted.data);
            }
            _ => return Err(ResponseCode::FormErr),
        }
    }
    if wanted_sets.iter().all(|((name, record_type), data)| holds_exactly(zone, name, *record_type, data)) {
        return Ok(());
    }
    Err(ResponseCode::NXRRSet)
}

fn check_present(zone: &Zone, wanted: &Record) -> Result<(), ResponseCode> {
    match wanted.record_type() {
        _ if !is_empty(wanted) => Err(ResponseCode::FormErr),
        RecordType::ANY if !zone.has_name(&wanted.name) => Err(ResponseCode::NXDomain),
        RecordType::ANY => Ok(()),
        record_type if zone.get(&wanted.name, record_type).is_none() => Err(ResponseCode::NXRRSet),
        _ => Ok(()),
    }
}

fn check_absent(zone: &Zone, wanted: &Record) -> Result<(), ResponseCode> {
    match wanted.record_type() {
        _ if !is_empty(wanted) => Err(ResponseCode::FormErr),
        RecordType::ANY if zone.has_name(&wanted.name) => Err(ResponseCode::YXDomain),
        RecordType::ANY => Ok(()),
        record_type if zone.get(&wanted.name, record_type).is_some() => Err(ResponseCode::YXRRSet),
        _ => Ok(()),
    }
}

fn holds_exactly(zone: &Zone, name: &Name, record_type: RecordType, wanted: &[&RData]) -> bool {
    let Some(held) = zone.get(name, record_type) else { return false };
    held.data.iter().all(|data| wanted.contains(&data)) && wanted.iter().all(|data| held.data.contains(data))
}

/// Section 3.4.1.3: nothing is changed before everything is known to be well-formed.
fn check_form(zone: &Zone, update: &Record) -> Result<(), ResponseCode> {
    check_in_zone(zone, &update.name)?;
    let meta = is_meta(update.record_type());
    let fits = match update.dns_class {
        DNSClass::IN => !meta && is_record(update),
        DNSClass::ANY => update.ttl == 0 && is_empty(update) && (!meta || update.record_type() == RecordType::ANY),
        DNSClass::NONE => update.ttl == 0 && !meta && is_record(update),
        _ => false,
    };
    if fits { Ok(()) } else { Err(ResponseCode::FormErr) }
}

/// Section 3.4.2.7.
fn apply_one(zone: &mut Zone, update: &Record) {
    let record_type = update.record_type();
    let at_apex = update.name == *zone.origin();
    let kept_at_apex = |held: RecordType| at_apex && matches!(held, RecordType::SOA | RecordType::NS);
    match update.dns_class {
        DNSClass::IN if record_type == RecordType::SOA => replace_soa(zone, update),
        DNSClass::IN => {
            zone.insert(update.clone());
        }
        DNSClass::ANY if record_type == RecordType::ANY => {
            zone.remove_sets(&update.name, |held| !kept_at_apex(held));
        }
        DNSClass::ANY => zone.remove_sets(&update.name, |held| held == record_type && !kept_at_apex(held)),
        _ if record_type == RecordType::SOA || (at_apex && is_last_server(zone, &update.data)) => {}
        _ => zone.remove_record(&update.name, &update.data),
    }
}

/// Only at the apex, and only forward (RFC 1982).
fn replace_soa(zone: &mut Zone, update: &Record) {
    let (Some(held), RData::SOA(new)) = (zone.soa(), &update.data) else { return };
    let step = new.serial.wrapping_sub(held.serial);
    if update.name == *zone.origin() && step != 0 && step < 1 << 31 {
        zone.insert(update.clone());
    }
}

/// Whether a zone would lose its last name server with this record.
fn is_last_server(zone: &Zone, data: &RData) -> bool {
    zone.get(zone.origin(), RecordType::NS).is_some_and(|servers| servers.data == [data.clone()])
}

fn check_in_zone(zone: &Zone, name: &Name) -> Result<(), ResponseCode> {
    if zone.origin().zone_of(name) { Ok(()) } else { Err(ResponseCode::NotZone) }
}

/// Without data, as "any such" and "no such" are written.
fn is_empty(record: &Record) -> bool {
    matches!(record.data, RData::Update0(_))
}

fn is_record(record: &Record) -> bool {
    !is_empty(record)
}

/// Types that exist in messages only (RFC 6895: 128 to 255), and OPT.
fn is_meta(record_type: RecordType) -> bool {
    matches!(u16::from(record_type), 0 | 41 | 128..=255)
}
