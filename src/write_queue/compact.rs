//! Compacts a segment: rewrites it with its pending writes and dead letters only.

use std::io;

use policy::write::record::SegmentHead;
use policy::write::segment_table::{Position, put_live};

use super::held::Live;
use super::segments::Directory;
use crate::telemetry::random;

/// The bytes of a segment, and the position of each write in it.
type Segmented = (Vec<u8>, Vec<(u64, Position)>);

/// Encodes a segment with these writes, and returns their positions. Dead letters are read from disk.
///
/// # Errors
/// If a write cannot be read, or is longer than a journal can hold, which no write read from a journal is.
pub(super) fn compact(journal: u128, directory: &Directory, live: Vec<Live>) -> io::Result<Segmented> {
    let mark = random::roll();
    let first_seq = live.first().map_or(0, |live| live.seq);
    let mut bytes = Vec::new();
    let mut places = Vec::with_capacity(live.len());
    SegmentHead { journal, first_seq, mark }.encode(&mut bytes);
    for Live { seq, write, place, death } in live {
        let packed = match write {
            Some(write) => write.packed().clone(),
            None => directory.read(place, seq)?,
        };
        let offset = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        put_live(seq, packed, death, mark, &mut bytes).map_err(io::Error::other)?;
        places.push((seq, Position { offset, ..place }));
    }
    Ok((bytes, places))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use policy::write::record::{Packed, Payload, Record, Write, frame_bytes};

    use super::super::queue::{PendingContent, WriteQueue};
    use super::super::queued::Queued;
    use super::*;

    fn record(seq: u64, key: &str) -> Record {
        Record { seq, payload: Payload::Write(write(key).packed().clone()) }
    }

    fn write(key: &str) -> Arc<Queued> {
        Arc::new(Queued::new(Packed::of(&Write {
            route: "/".into(),
            upstream: "b".into(),
            key: key.as_bytes().into(),
            method: http::Method::PUT,
            target: "/".into(),
            headers: Vec::new(),
            body: key.to_owned().into(),
            accepted: Duration::from_secs(1),
        })))
    }

    #[test]
    fn a_compacted_segment_recovers_to_the_same_writes() {
        let state = std::env::temp_dir().join(format!("forebay-compact-{}", std::process::id()));
        std::fs::create_dir_all(&state).unwrap();
        let directory = Directory::open(&state).unwrap();
        directory.begin(3, &SegmentHead { journal: 7, first_seq: 20, mark: 1 }).unwrap();
        let death = Payload::Dead {
            write: 22,
            status: Some(422),
            attempts: 1,
            reason: Box::default(),
            at: Duration::from_secs(2),
        };
        let bytes = u32::try_from(frame_bytes(&record(21, "a"))).unwrap();
        let place = Position { segment: 3, offset: 0, bytes };
        let pending = Live { seq: 21, write: Some(write("a")), place, death: None };
        let dead = Live { seq: 22, write: Some(write("b")), place, death: Some(death.clone()) };
        let (text, places) = compact(7, &directory, vec![pending, dead]).unwrap();
        directory.replace(3, &text, true).unwrap();
        assert_eq!(directory.read(places[0].1, 21).unwrap(), *write("a").packed());
        let stale = places[1].1;
        assert_eq!(directory.read(stale, 22).unwrap(), *write("b").packed());
        directory.read(stale, 21).unwrap_err();
        // Once more, with the dead letter read from disk.
        let pending = Live { seq: 21, write: Some(write("a")), place, death: None };
        let dead = Live { seq: 22, write: None, place: stale, death: Some(death) };
        let (text, places) = compact(7, &directory, vec![pending, dead]).unwrap();
        assert_eq!(places[1].1, stale);
        std::fs::remove_file(directory.damaged_segments().unwrap().remove(0)).unwrap();
        directory.replace(3, &text, true).unwrap();
        assert_eq!(directory.damaged_segments().unwrap().len(), 1);
        assert_eq!(directory.next_segment().unwrap(), 4);
        let left_over = directory.path(3).with_extension("log.new");
        std::fs::write(&left_over, "of a process that ended meanwhile").unwrap();
        drop(directory);
        let write_queue = WriteQueue::open(&state).unwrap();
        assert!(!left_over.exists());
        assert_eq!(write_queue.journal().identity(), 7);
        assert_eq!((write_queue.counts().pending, write_queue.counts().dead), (1, 1));
        assert!(
            matches!(write_queue.find(b"a"), PendingContent::Dirty(21, write) if write.unpack().unwrap().body == "a")
        );
        assert!(matches!(write_queue.find(b"b"), PendingContent::Clean));
        assert!(write_queue.look(|_, writes| writes[&22].write.is_none()), "a dead letter is on the disk only");
        assert_eq!(write_queue.write(22).unwrap().unpack().unwrap().body, "b");
        let live = write_queue.live_in(3).unwrap();
        let completion: Vec<(u64, bool)> = live.iter().map(|live| (live.seq, live.death.is_some())).collect();
        assert_eq!(completion, [(21, false), (22, true)]);
        write_queue.journal().close();
        std::fs::remove_dir_all(&state).unwrap();
    }
}
