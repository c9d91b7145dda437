//! One look at one node: what is asked, and what the answer says.
//!
//! Pure. Knows nothing of other nodes; `topology.rs` compares.

use crate::names::{position, timeline_of_file};
use crate::trouble::Trouble;
use crate::wire::Row;

/// One row, whatever the node is. A function that fails in the other role stands behind a CASE.
pub const LOOK: &str = "\
SELECT pg_is_in_recovery(), (SELECT system_identifier FROM pg_control_system()), \
CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_flush_lsn() END, \
CASE WHEN NOT pg_is_in_recovery() THEN pg_walfile_name(pg_current_wal_insert_lsn()) END, \
pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn(), \
r.status, r.received_tli, r.sender_host, r.sender_port, \
(extract(epoch FROM clock_timestamp() - r.last_msg_receipt_time) * 1000)::bigint, \
(SELECT timeline_id FROM pg_control_checkpoint()), \
CASE WHEN pg_is_in_recovery() AND r.status IS NULL THEN \
(SELECT max(left(name, 8)) FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$') END, \
(extract(epoch FROM pg_last_xact_replay_timestamp()) * 1000)::bigint, \
(extract(epoch FROM clock_timestamp()) * 1000)::bigint, \
current_setting('synchronous_standby_names'), current_setting('synchronous_commit'), \
current_setting('default_transaction_read_only'), \
current_setting('tidegate.epoch', true), current_setting('tidegate.synchronous_epoch', true), \
current_setting('tidegate.fenced', true), \
(SELECT string_agg(slot_name || CASE WHEN active THEN ' active' ELSE ' inactive' END, ', ' ORDER BY slot_name) FROM pg_replication_slots), \
(SELECT string_agg(application_name || ' ' || state || ' ' || sync_state, ', ' ORDER BY application_name) FROM pg_stat_replication) \
FROM (SELECT 1) AS one LEFT JOIN pg_stat_wal_receiver AS r ON true";

/// A write as small as a write can be: it goes through the log and waits for the disk, but for no standby.
pub const WRITE: &str = "BEGIN; SET LOCAL synchronous_commit TO local; SET LOCAL statement_timeout TO '1s'; \
SELECT pg_logical_emit_message(true, 'tidegate', ''); COMMIT";

/// What a node says of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Look {
    /// A standby, or at least no primary.
    pub in_recovery: bool,
    /// The cluster's system identifier.
    pub identity: String,
    /// That it writes, or got the newest log from.
    pub timeline: Option<u64>,
    /// The end of the log that is safe on its disk.
    pub received: Option<u64>,
    /// How much of that can be read from it.
    pub replayed: Option<u64>,
    /// Where its log comes from, while it comes.
    pub receiver: Option<Receiver>,
    /// When the newest transaction that was replayed was committed, on the primary's clock, in milliseconds.
    pub newest_commit: Option<u64>,
    /// Its own clock, in milliseconds.
    pub clock: u64,
    /// `synchronous_standby_names`.
    pub synchronous: String,
    /// `synchronous_commit`.
    pub commit: String,
    /// Sessions are read-only unless they say otherwise.
    pub read_only: bool,
    /// Of the newest run that changed it.
    pub epoch: Option<u64>,
    /// Of the synchronous set.
    pub set_epoch: Option<u64>,
    /// An advisory fence of ours.
    pub fenced: bool,
    /// Replication slots, for people.
    pub slots: Option<String>,
    /// Who streams from it, for people.
    pub standbys: Option<String>,
}

/// A standby's receiving end.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Receiver {
    /// "streaming" once it is under way.
    pub status: String,
    /// Whom it is connected to.
    pub host: String,
    /// And there.
    pub port: u16,
    /// Since anything came, in milliseconds on the standby's own clock.
    pub heard: Option<u64>,
}

impl Look {
    /// From the rows that [`LOOK`] brings.
    pub fn read(rows: &[Row]) -> Result<Self, Trouble> {
        let row = rows.first().filter(|row| row.len() == 23).ok_or_else(odd)?;
        let text = |at: usize| row[at].as_deref();
        let number = |at: usize| text(at).and_then(|text| text.parse::<u64>().ok());
        let lsn = |at: usize| text(at).and_then(position);
        let in_recovery = text(0) == Some("t");
        let (received, replayed, timeline) = match in_recovery {
            // After a restart nothing was received yet, and what was replayed had been received before.
            true => {
                // While nothing comes in, the newest file of the log tells what came in last.
                let timeline = number(7).max(number(11)).max(text(12).and_then(timeline_of_file));
                (lsn(4).max(lsn(5)), lsn(5), timeline)
            }
            false => (lsn(2), lsn(2), text(3).and_then(timeline_of_file)),
        };
        Ok(Look {
            in_recovery,
            identity: text(1).ok_or_else(odd)?.to_owned(),
            timeline,
            received,
            replayed,
            receiver: text(6).map(|status| Receiver {
                status: status.to_owned(),
                host: text(8).unwrap_or_default().to_owned(),
                port: number(9).and_then(|port| u16::try_from(port).ok()).unwrap_or_default(),
                heard: text(10).map(|heard| heard.parse().unwrap_or_default()),
            }),
            newest_commit: number(13),
            clock: number(14).ok_or_else(odd)?,
            synchronous: text(15).unwrap_or_default().to_owned(),
            commit: text(16).unwrap_or_default().to_owned(),
            read_only: text(17) == Some("on"),
            epoch: number(18),
            set_epoch: number(19),
            fenced: text(20) == Some("on"),
            slots: text(21).map(str::to_owned),
            standbys: text(22).map(str::to_owned),
        })
    }

    /// Whether log comes in from there.
    pub fn streams_from(&self, host: &str, port: u16) -> bool {
        self.receiver.as_ref().is_some_and(|receiver| receiver.is_streaming() && receiver.is_from(host, port))
    }
}

impl Receiver {
    /// Under way, and not still looking for where to begin.
    pub fn is_streaming(&self) -> bool {
        self.status == "streaming"
    }

    /// Whether this is whom it is connected to. A standby tells the host as it was told it.
    pub fn is_from(&self, host: &str, port: u16) -> bool {
        self.port == port && self.host == host
    }
}

fn odd() -> Trouble {
    Trouble::Broken("the answer to a look is none".to_owned())
}

#[cfg(test)]
mod tests {
    use super::Look;
    use crate::wire::Row;

    fn row(changes: &[(usize, &str)]) -> Vec<Row> {
        let mut row: Row = vec![None; 23];
        row[1] = Some("77".to_owned());
        row[14] = Some("5000".to_owned());
        for (at, value) in changes {
            row[*at] = Some((*value).to_owned());
        }
        vec![row]
    }

    #[test]
    fn a_primary_tells_its_own_end_of_the_log() {
        let look = Look::read(&row(&[(0, "f"), (2, "0/300"), (3, "0000000B0000000000000001"), (11, "9")])).unwrap();
        assert_eq!(
            (look.in_recovery, look.received, look.replayed, look.timeline),
            (false, Some(0x300), Some(0x300), Some(11))
        );
    }

    #[test]
    fn a_standby_has_at_least_what_it_has_replayed() {
        let look = Look::read(&row(&[(0, "t"), (4, "0/200"), (5, "0/300"), (11, "2"), (12, "0000000B")])).unwrap();
        assert_eq!((look.received, look.replayed, look.timeline), (Some(0x300), Some(0x300), Some(11)));
        let fresh = Look::read(&row(&[(0, "t"), (5, "0/300"), (7, "4"), (11, "2")])).unwrap();
        assert_eq!((fresh.received, fresh.timeline), (Some(0x300), Some(4)));
    }

    #[test]
    fn a_receiver_that_is_waiting_does_not_stream() {
        let look = Look::read(&row(&[(0, "t"), (6, "waiting"), (8, "10.0.0.1"), (9, "5432")])).unwrap();
        assert!(!look.streams_from("10.0.0.1", 5432));
        let look = Look::read(&row(&[(0, "t"), (6, "streaming"), (8, "10.0.0.1"), (9, "5432")])).unwrap();
        assert!(look.streams_from("10.0.0.1", 5432) && !look.streams_from("10.0.0.1", 5433));
    }

    #[test]
    fn an_answer_of_another_shape_is_none() {
        assert!(Look::read(&[]).is_err());
        assert!(Look::read(&[vec![Some("t".to_owned())]]).is_err());
    }
}
