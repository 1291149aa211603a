//! Tests of the reader at the ends of its input.

use super::*;
use common::{
    model::Pooling,
    wire::{FeaturePart, MAX_FRAME, Sender, Statistics},
};
use proptest::prelude::*;

/// A recording: features of so many values, each in parts of at most 224. With the end of each frame in it, and of
/// each feature the places of its first and last frame.
struct Recording {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    features: Vec<(usize, usize)>,
}

fn recording(lengths: &[usize], leading_zero: bool) -> Recording {
    let (mut sender, mut buffer) = (Sender::new(), [0; MAX_FRAME]);
    let mut made = Recording { bytes: vec![], ends: vec![], features: vec![] };
    if leading_zero {
        made.bytes.push(0);
    }
    let mut send = |made: &mut Recording, message: &Message| {
        made.bytes.extend(sender.encode(message, &mut buffer).expect("a frame"));
        made.ends.push(made.bytes.len());
    };
    for (frame, length) in lengths.iter().enumerate() {
        let first = made.ends.len();
        for offset in (0..*length).step_by(224) {
            let values = (offset..*length.min(&(offset + 224))).map(|value| value as f32).collect();
            let part = FeaturePart {
                frame: frame as u32,
                name: common::wire::name_of("a.png"),
                kept: 1,
                patches: 4,
                pooling: Pooling::Cls,
                micros: 1,
                total: *length as u32,
                offset: offset as u32,
                values,
            };
            send(&mut made, &Message::Features(part));
        }
        made.features.push((first, made.ends.len() - 1));
    }
    send(&mut made, &Message::Statistics(Statistics::default()));
    made
}

/// Gives its bytes a few at a time; then it ends, or fails.
struct Line<'a> {
    rest: &'a [u8],
    vanishes: bool,
}

impl Read for Line<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.rest.len().min(out.len()).min(97);
        let (now, rest) = self.rest.split_at(count);
        out[..count].copy_from_slice(now);
        self.rest = rest;
        if count == 0 && self.vanishes { Err(io::Error::other("pulled")) } else { Ok(count) }
    }
}

fn counted(bytes: &[u8], vanishes: bool) -> (Counts, Ending) {
    let mut reader = Reader::new(Line { rest: bytes, vanishes });
    loop {
        if let Event::Ended(ending) = reader.next_event().expect("one version") {
            let counts = reader.counts();
            reader.close();
            assert_eq!(counts, reader.counts(), "the end is counted once");
            return (counts, ending);
        }
    }
}

proptest! {
    #[test]
    fn every_frame_and_feature_that_began_is_counted(
        lengths in prop::collection::vec(1..1000_usize, 1..6),
        leading_zero: bool,
        vanishes: bool,
        at in 0.0..=1.0_f64,
    ) {
        let made = recording(&lengths, leading_zero);
        let cut = (made.bytes.len() as f64 * at) as usize;
        let (counts, ending) = counted(&made.bytes[..cut], vanishes);
        prop_assert_eq!(ending == Ending::EndOfFile, !vanishes);
        // Frames by their beginnings and ends; the zero in front is no frame.
        let begins = [usize::from(leading_zero)].into_iter().chain(made.ends.iter().copied());
        let begun = begins.take(made.ends.len()).filter(|begin| *begin < cut).count();
        let whole = made.ends.iter().filter(|end| **end <= cut).count();
        prop_assert_eq!((counts.damaged, counts.lost), ((begun - whole) as u64, 0));
        // A feature has begun when its first frame is whole: before, nobody can know that it is one.
        let features = made.features.iter().filter(|(first, _)| made.ends[*first] <= cut).count() as u64;
        prop_assert_eq!(counts.features + counts.incomplete, features);
        let done = made.features.iter().filter(|(_, last)| made.ends[*last] <= cut).count() as u64;
        prop_assert_eq!(counts.features, done);
        prop_assert_eq!(counts.bytes, cut as u64);
    }

    #[test]
    fn frames_that_are_dropped_or_changed_on_the_way_are_counted_too(
        lengths in prop::collection::vec(1..1000_usize, 1..6),
        faults in prop::collection::vec(0..6_u8, 24),
        at in 0.0..=1.0_f64,
    ) {
        let made = recording(&lengths, true);
        // One frame in six is dropped, one has a wrong byte.
        let (mut line, mut frames, mut begin) = (vec![0_u8], vec![], 1);
        for (end, fault) in made.ends.iter().zip(faults.iter().cycle()) {
            let mut frame = made.bytes[begin..*end].to_vec();
            begin = *end;
            if *fault == 1 {
                // No zero becomes of it, and no zero is changed.
                frame[2] = if frame[2] == 0xff { 1 } else { frame[2] + 1 };
            }
            if *fault != 0 {
                line.extend(&frame);
            }
            frames.push((line.len(), *fault));
        }
        let cut = (line.len() as f64 * at) as usize;
        let (counts, _) = counted(&line[..cut], false);
        let arrived = |fault: &u8| *fault > 0;
        let mut started = 0;
        let mut before = 1;
        for (end, fault) in &frames {
            started += usize::from(arrived(fault) && before < cut);
            before = *end;
        }
        let whole = frames.iter().filter(|(end, fault)| *end <= cut && *fault > 1).count();
        prop_assert_eq!(counts.damaged as usize, started - whole);
        // What is lost shows when a later frame comes.
        let last = frames.iter().rposition(|(end, fault)| *end <= cut && *fault > 1);
        let first = frames.iter().position(|(end, fault)| *end <= cut && *fault > 1);
        let lost = match (first, last) {
            (Some(first), Some(last)) => frames[first..=last].iter().filter(|(_, fault)| *fault < 2).count(),
            _ => 0,
        };
        prop_assert_eq!(counts.lost as usize, lost);
    }
}

#[test]
fn who_joins_in_the_middle_counts_from_the_next_frame() {
    let made = recording(&[10, 10], false);
    // The end of the first frame, then the second: the first began before anybody listened.
    let (counts, _) = counted(&made.bytes[5..], false);
    assert_eq!((counts.features, counts.damaged), (1, 0));
    // Behind a zero it is a frame that began.
    let behind = [&[0], &made.bytes[5..]].concat();
    let (counts, _) = counted(&behind, false);
    assert_eq!((counts.features, counts.damaged), (1, 1));
    let (counts, _) = counted(&made.bytes[5..20], true);
    assert_eq!((counts.features, counts.damaged), (0, 1));
}
