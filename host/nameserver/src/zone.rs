//! The zone's records, and what it answers to a question.
//!
//! Pure data: does not know sockets, signatures, updates or files.

use std::collections::BTreeMap;
use std::ops::Bound;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{Name, RData, Record, RecordType};

/// How many CNAMEs in a row are followed: nobody means more, and a loop has to end somewhere.
const CNAMES_MAX: usize = 8;

/// All records of one name and type; never empty.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RecordSet {
    pub(crate) ttl_seconds: u32,
    pub(crate) data: Vec<RData>,
}

/// One zone. Names compare without regard to case and sort by their labels from the right.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Zone {
    origin: Name,
    names: BTreeMap<Name, BTreeMap<RecordType, RecordSet>>,
}

/// What a question gets.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) code: ResponseCode,
    pub(crate) answers: Vec<Record>,
    /// The start of authority, where there is nothing else to say.
    pub(crate) authorities: Vec<Record>,
}

impl Zone {
    pub(crate) fn new(origin: Name) -> Self {
        Self { origin, names: BTreeMap::new() }
    }

    pub(crate) fn origin(&self) -> &Name {
        &self.origin
    }

    pub(crate) fn get(&self, name: &Name, record_type: RecordType) -> Option<&RecordSet> {
        self.names.get(name)?.get(&record_type)
    }

    pub(crate) fn has_name(&self, name: &Name) -> bool {
        self.names.contains_key(name)
    }

    pub(crate) fn soa(&self) -> Option<&SOA> {
        match self.get(&self.origin, RecordType::SOA)?.data.first()? {
            RData::SOA(soa) => Some(soa),
            _ => None,
        }
    }

    /// Every record, name by name.
    pub(crate) fn records(&self) -> impl Iterator<Item = Record> {
        self.names.iter().flat_map(|(name, sets)| sets.values().flat_map(|set| set.records(name)))
    }

    /// Adds a record to its set, which takes the record's TTL. A CNAME and an SOA replace the one before. False, and
    /// nothing done, where a CNAME would stand beside something else.
    pub(crate) fn insert(&mut self, record: Record) -> bool {
        let record_type = record.record_type();
        if self.is_barred(&record.name, record_type) {
            return false;
        }
        let sets = self.names.entry(record.name).or_default();
        let set = sets.entry(record_type).or_insert(RecordSet { ttl_seconds: record.ttl, data: Vec::new() });
        set.ttl_seconds = record.ttl;
        if matches!(record_type, RecordType::CNAME | RecordType::SOA) {
            set.data.clear();
        }
        if !set.data.contains(&record.data) {
            set.data.push(record.data);
        }
        true
    }

    /// Removes the sets of a name for which `goes` says so.
    pub(crate) fn remove_sets(&mut self, name: &Name, goes: impl Fn(RecordType) -> bool) {
        let Some(sets) = self.names.get_mut(name) else { return };
        sets.retain(|record_type, _| !goes(*record_type));
        if sets.is_empty() {
            self.names.remove(name);
        }
    }

    /// Removes one record from its set.
    pub(crate) fn remove_record(&mut self, name: &Name, data: &RData) {
        let record_type = data.record_type();
        let Some(set) = self.names.get_mut(name).and_then(|sets| sets.get_mut(&record_type)) else { return };
        set.data.retain(|kept| kept != data);
        if set.data.is_empty() {
            self.remove_sets(name, |other| other == record_type);
        }
    }

    /// Moves the serial on by one; 0 is left out, since some servers take it for "none".
    pub(crate) fn increase_serial(&mut self) {
        let sets = self.names.get_mut(&self.origin);
        let Some(set) = sets.and_then(|sets| sets.get_mut(&RecordType::SOA)) else { return };
        if let Some(RData::SOA(soa)) = set.data.first_mut() {
            soa.serial = soa.serial.wrapping_add(1).max(1);
        }
    }

    /// What the zone says to a question about one of its names.
    pub(crate) fn lookup(&self, name: &Name, record_type: RecordType) -> Answer {
        let mut answers = Vec::new();
        let mut name = name.clone();
        for _ in 0..CNAMES_MAX {
            answers.extend(self.at(&name, record_type));
            match self.alias_of(&name, record_type) {
                Some(target) if self.origin.zone_of(&target) => name = target,
                Some(_) => return Answer::positive(answers),
                None => break,
            }
        }
        if self.at(&name, record_type).next().is_some() {
            return Answer::positive(answers);
        }
        let code = if self.exists(&name) { ResponseCode::NoError } else { ResponseCode::NXDomain };
        Answer { code, answers, authorities: self.negative_soa() }
    }

    /// The records that answer for this one name: its own of that type, or else its CNAME.
    fn at<'a>(&'a self, name: &'a Name, record_type: RecordType) -> impl Iterator<Item = Record> + 'a {
        let sets = self.names.get(name).into_iter().flatten();
        sets.filter(move |(held, _)| {
            record_type == RecordType::ANY || **held == record_type || **held == RecordType::CNAME
        })
        .flat_map(move |(_, set)| set.records(name))
    }

    fn alias_of(&self, name: &Name, record_type: RecordType) -> Option<Name> {
        if matches!(record_type, RecordType::CNAME | RecordType::ANY) {
            return None;
        }
        match self.get(name, RecordType::CNAME)?.data.first()? {
            RData::CNAME(target) => Some(target.0.clone()),
            _ => None,
        }
    }

    /// A name also exists if only something below it does.
    fn exists(&self, name: &Name) -> bool {
        let from = (Bound::Included(name), Bound::Unbounded);
        self.names.range::<Name, _>(from).next().is_some_and(|(next, _)| name.zone_of(next))
    }

    /// RFC 2308: "no" may be kept as long as the SOA's minimum says, and no longer than the SOA itself.
    fn negative_soa(&self) -> Vec<Record> {
        let Some(soa) = self.soa() else { return Vec::new() };
        let mut records: Vec<_> = self.at(&self.origin, RecordType::SOA).collect();
        for record in &mut records {
            record.ttl = record.ttl.min(soa.minimum);
        }
        records
    }

    fn is_barred(&self, name: &Name, record_type: RecordType) -> bool {
        let Some(sets) = self.names.get(name) else { return false };
        match record_type {
            RecordType::CNAME => sets.keys().any(|held| *held != RecordType::CNAME),
            _ => sets.contains_key(&RecordType::CNAME),
        }
    }
}

impl RecordSet {
    fn records<'a>(&'a self, name: &'a Name) -> impl Iterator<Item = Record> + 'a {
        self.data.iter().map(|data| Record::from_rdata(name.clone(), self.ttl_seconds, data.clone()))
    }
}

impl Answer {
    pub(crate) fn nothing(code: ResponseCode) -> Self {
        Self { code, answers: Vec::new(), authorities: Vec::new() }
    }

    fn positive(answers: Vec<Record>) -> Self {
        Self { code: ResponseCode::NoError, answers, authorities: Vec::new() }
    }
}
