//! The serial protocol on good and on noisy lines.

use common::{
    model::{ModelHash, Pooling},
    wire::*,
};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn part(frame: u32, total: u32, offset: u32, values: &[f32], name: &str) -> Message {
    Message::Features(FeaturePart {
        frame,
        name: name_of(name),
        kept: 16,
        patches: 64,
        pooling: Pooling::Mean,
        micros: 1234,
        total,
        offset,
        values: heapless::Vec::from_slice(values).expect("short"),
    })
}

fn feature(frame: u32, length: usize) -> Vec<f32> {
    (0..length).map(|i| (frame as f32).sin() + i as f32).collect()
}

/// The frames of one feature, split as a board does.
fn send(sender: &mut Sender, frame: u32, values: &[f32], line: &mut Vec<u8>) {
    for (index, chunk) in values.chunks(MAX_VALUES).enumerate() {
        let message = part(frame, values.len() as u32, (index * MAX_VALUES) as u32, chunk, "a.jpg");
        line.extend_from_slice(sender.encode(&message, &mut [0; MAX_FRAME]).expect("fits"));
    }
}

fn class(frame: u32) -> Message {
    Message::Class(ClassScore { frame, class: frame % 10, score: 1.0 / (1 + frame) as f32 })
}

fn classes(total: u32, offset: u32, names: &[String]) -> Message {
    let names = names.iter().map(|name| class_name_of(name)).collect();
    Message::Classes(ClassNames { total, offset, names })
}

fn image([frame, total, offset]: [u32; 3], pixels: &[u8]) -> Message {
    let pixels = heapless::Vec::from_slice(pixels).expect("short");
    Message::Image(ImagePart { frame, total, offset, pixels })
}

fn settings(keep: f64, seed: u64) -> Message {
    Message::Settings(Settings { keep, choice: Choice::Random, seed, pooling: Pooling::Mean })
}

fn hello() -> Message {
    Message::Hello(Hello {
        schema: SCHEMA_HASH,
        model: ModelHash([1, 2, 3, 4, 5, 6, 7, 8]),
        image_height: 32,
        image_width: 32,
        channels: 3,
        patch_size: 4,
        patches: 64,
        feature_dim: 128,
        pooling: Pooling::Mean,
        runtime: "tract f32".try_into().expect("short"),
        program: "edge 0.1.0".try_into().expect("short"),
    })
}

fn receive(line: &[u8]) -> (Vec<Feature>, Vec<Received>, usize, u64) {
    let (mut decoder, mut assembler, mut damaged) = (Decoder::new(), Assembler::default(), 0);
    let (mut features, mut messages) = (Vec::new(), Vec::new());
    for byte in line {
        match decoder.push(*byte) {
            Some(Ok(received)) => {
                features.extend(assembler.push(&received));
                messages.push(received);
            }
            Some(Err(_)) => damaged += 1,
            None => {}
        }
    }
    (features, messages, damaged, assembler.incomplete())
}

#[test]
fn the_worked_example_of_the_specification() {
    let mut sender = Sender::new();
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ");
    let mut out = [0; MAX_FRAME];
    let first = hex(sender.encode(&hello(), &mut out).expect("fits"));
    let second = hex(sender.encode(&part(0, 2, 0, &[1.0, -2.5], "a.jpg"), &mut out).expect("fits"));
    let third = hex(sender.encode(&classes(2, 0, &["cat".into(), "dog".into()]), &mut out).expect("fits"));
    let fourth = Message::Class(ClassScore { frame: 1, class: 1, score: 0.75 });
    let fourth = hex(sender.encode(&fourth, &mut out).expect("fits"));
    let mut sender = Sender::new();
    let commands =
        [Message::Ask, settings(0.25, 7), image([1, 6, 0], &[1, 2, 3, 250, 251, 252]), Message::BuiltIn(2)];
    let commands = commands.map(|command| hex(sender.encode(&command, &mut out).expect("fits")));
    let text = include_str!("../../docs/wire.md").split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains(&first), "docs/wire.md lacks the greeting: {first}");
    assert!(text.contains(&second), "docs/wire.md lacks the feature: {second}");
    assert!(text.contains(&third), "docs/wire.md lacks the names: {third}");
    assert!(text.contains(&fourth), "docs/wire.md lacks the class: {fourth}");
    for command in commands {
        assert!(text.contains(&command), "docs/wire.md lacks the command: {command}");
    }
    assert!(text.contains(&format!("{SCHEMA_HASH:#010x}")), "docs/wire.md lacks the hash {SCHEMA_HASH:#010x}");
    let schema = SCHEMA.replace(' ', "");
    assert!(text.replace(' ', "").contains(&schema), "docs/wire.md lacks the schema");
}

#[test]
fn long_features_are_split_and_joined() {
    for length in [1, 128, MAX_VALUES, MAX_VALUES + 1, 768, 5000] {
        let (mut sender, mut line) = (Sender::new(), vec![0]);
        for frame in 0..3 {
            send(&mut sender, frame, &feature(frame, length), &mut line);
        }
        let (features, ..) = receive(&line);
        assert_eq!(features.len(), 3);
        for (found, frame) in features.iter().zip(0..) {
            assert_eq!((found.frame, found.name.as_str()), (frame, "a.jpg"));
            assert_eq!(found.values, feature(frame, length));
        }
    }
}

#[test]
fn a_feature_with_a_lost_part_is_not_delivered() {
    let (mut sender, mut line) = (Sender::new(), Vec::new());
    send(&mut sender, 0, &feature(0, 600), &mut line);
    send(&mut sender, 1, &feature(1, 600), &mut line);
    let frames: Vec<&[u8]> = line.split_inclusive(|byte| *byte == 0).collect();
    for lost in 0..6 {
        let rest: Vec<u8> = (0..6).filter(|i| *i != lost).flat_map(|i| frames[i].to_vec()).collect();
        let (features, _, damaged, incomplete) = receive(&rest);
        assert_eq!(features.len(), 1, "part {lost}");
        assert_eq!(features[0].values, feature(features[0].frame, 600));
        // The last part of all leaves no trace behind it.
        assert_eq!((damaged, incomplete), (0, u64::from(lost != 5)), "part {lost}");
    }
}

#[test]
fn a_class_belongs_to_the_feature_behind_it_and_to_no_other() {
    let (mut sender, mut line) = (Sender::new(), Vec::new());
    let one =
        |sender: &mut Sender, message: &Message| sender.encode(message, &mut [0; MAX_FRAME]).expect("fits").to_vec();
    for frame in 0..3 {
        line.push(one(&mut sender, &class(frame)));
        let mut parts = Vec::new();
        send(&mut sender, frame, &feature(frame, 10), &mut parts);
        line.push(parts);
    }
    let classes_of = |frames: &[&Vec<u8>]| {
        let line: Vec<u8> = frames.iter().flat_map(|frame| frame.to_vec()).collect();
        receive(&line).0.iter().map(|f| f.class.map(|class| (f.frame, class.class))).collect::<Vec<_>>()
    };
    let all: Vec<&Vec<u8>> = line.iter().collect();
    assert_eq!(classes_of(&all), [Some((0, 0)), Some((1, 1)), Some((2, 2))]);
    let without =
        |lost: usize| all.iter().enumerate().filter(|(i, _)| *i != lost).map(|(_, f)| *f).collect::<Vec<_>>();
    // A lost class: the feature comes without one. A lost feature: its class goes with it.
    assert_eq!(classes_of(&without(2)), [Some((0, 0)), None, Some((2, 2))]);
    assert_eq!(classes_of(&without(3)), [Some((0, 0)), Some((2, 2))]);
    // A class for which no feature came, then a restart with the same number and no head.
    let mut restarted = Sender::new();
    let greeting = one(&mut restarted, &hello());
    let mut anew = Vec::new();
    send(&mut restarted, 0, &feature(0, 10), &mut anew);
    assert_eq!(classes_of(&[&line[0], &greeting, &anew]), [None]);
}

#[test]
fn the_tail_of_an_overlong_frame_is_no_frame() {
    let (mut sender, mut good) = (Sender::new(), Vec::new());
    send(&mut sender, 7, &feature(7, 10), &mut good);
    let mut line = vec![1; MAX_FRAME];
    line.extend_from_slice(&good);
    line.extend_from_slice(&good);
    let (features, _, damaged, _) = receive(&line);
    assert_eq!((features.len(), damaged), (1, 1));
}

#[test]
fn lost_frames_are_counted_across_the_wrap_and_a_restart_is_none() {
    let (mut sender, mut decoder, mut lost) = (Sender::new(), Decoder::new(), 0_u64);
    let mut out = [0; MAX_FRAME];
    for index in 0..200_000_u32 {
        let frame = sender.encode(&Message::Error(ErrorCode::Busy), &mut out).expect("fits");
        if index % 7 != 3 {
            lost += frame
                .iter()
                .filter_map(|b| decoder.push(*b))
                .map(|r| u64::from(r.expect("whole").lost_before))
                .sum::<u64>();
        }
    }
    assert_eq!(lost, (0..200_000).filter(|i| i % 7 == 3).count() as u64);
    let frame = Sender::new().encode(&hello(), &mut out).expect("fits").to_vec();
    let restarted: Vec<_> = frame.iter().filter_map(|b| decoder.push(*b)).collect();
    assert_eq!(restarted[0].as_ref().expect("whole").lost_before, 0);
}

#[test]
fn another_version_is_named() {
    let frame = Sender::new().encode(&hello(), &mut [0; MAX_FRAME]).expect("fits").to_vec();
    let mut raw = frame[..frame.len() - 1].to_vec();
    let length = cobs::decode_in_place(&mut raw).expect("cobs");
    raw.truncate(length - 4);
    raw[0] = 9;
    raw.extend_from_slice(&crc32(&raw).to_le_bytes());
    let mut line = cobs::encode_vec_including_zero(&raw);
    line.insert(0, 0);
    let mut decoder = Decoder::new();
    let results: Vec<_> = line.iter().filter_map(|b| decoder.push(*b)).collect();
    assert_eq!(results, [Err(Damage::Version(9))]);
}

mod cobs {
    pub use ::cobs::decode_in_place;
    pub fn encode_vec_including_zero(raw: &[u8]) -> Vec<u8> {
        let mut out = vec![0; raw.len() + raw.len() / 254 + 2];
        let length = ::cobs::encode(raw, &mut out);
        out.truncate(length);
        out.push(0);
        out
    }
}

/// A line that flips bits, loses, doubles and inserts bytes. A zero is inserted often: it splits frames.
fn disturb(line: &[u8], seed: u64, rate: f64) -> Vec<u8> {
    use common::mask::{generator, uniform};
    let mut rng = generator(seed, 1);
    let mut out = Vec::new();
    for byte in line {
        if f64::from(uniform(&mut rng)) >= rate {
            out.push(*byte);
            continue;
        }
        match (uniform(&mut rng) * 5.0) as u32 {
            0 => out.push(byte ^ 1 << ((uniform(&mut rng) * 8.0) as u32)),
            1 => {}
            2 => out.extend([*byte, *byte]),
            3 => out.extend([0, *byte]),
            _ => out.push((uniform(&mut rng) * 256.0) as u8),
        }
    }
    out
}

#[test]
fn on_a_noisy_line_no_wrong_feature_is_accepted_and_the_next_whole_one_is() {
    let (mut accepted, mut rejected, mut classified) = (0, 0, 0);
    for seed in 0..300 {
        let (mut sender, mut line) = (Sender::new(), vec![0]);
        let lengths = [16, 128, 300];
        for frame in 0..40 {
            line.extend_from_slice(sender.encode(&class(frame), &mut [0; MAX_FRAME]).expect("fits"));
            send(&mut sender, frame, &feature(frame, lengths[seed as usize % 3]), &mut line);
        }
        let clean_from = line.len();
        let rate = [0.0003, 0.003, 0.03][seed as usize / 100];
        let mut noisy = disturb(&line, seed, rate);
        // The line is good again: whatever came before, the zero ends it.
        noisy.push(0);
        for frame in 40..43 {
            send(&mut sender, frame, &feature(frame, lengths[seed as usize % 3]), &mut noisy);
        }
        assert!(clean_from > 0);
        let (features, _, damaged, _) = receive(&noisy);
        let frames: BTreeSet<u32> = features.iter().map(|f| f.frame).collect();
        assert!(features.iter().all(|f| f.values == feature(f.frame, f.values.len())), "seed {seed}");
        assert!(features.iter().all(|f| f.values.len() == lengths[seed as usize % 3]), "seed {seed}");
        for found in &features {
            let right = found.class.is_none_or(|found_class| Message::Class(found_class) == class(found.frame));
            assert!(right, "seed {seed}: {found:?}");
            classified += usize::from(found.class.is_some());
        }
        assert!([40, 41, 42].iter().all(|frame| frames.contains(frame)), "seed {seed}: {frames:?}");
        accepted += features.len();
        rejected += damaged;
    }
    assert!(accepted > 1000 && rejected > 1000, "{accepted} accepted, {rejected} rejected");
    assert!(classified > 1000, "{classified} with a class");
}

fn message() -> impl Strategy<Value = Message> {
    let pooling = prop_oneof![Just(Pooling::Cls), Just(Pooling::Mean), Just(Pooling::MeanNorm)];
    let values = proptest::collection::vec(any::<f32>().prop_filter("NaN", |v| !v.is_nan()), 0..=MAX_VALUES);
    let features = (any::<[u32; 6]>(), pooling, ".{0,80}", values).prop_map(|(n, pooling, name, values)| {
        Message::Features(FeaturePart {
            frame: n[0],
            name: name_of(&name),
            kept: n[1],
            patches: n[2],
            pooling,
            micros: n[3],
            total: n[4],
            offset: n[5],
            values: heapless::Vec::from_slice(&values).expect("short"),
        })
    });
    prop_oneof![
        Just(hello()),
        features,
        any::<(u32, u32, u64, u64)>().prop_map(|(frames, skipped, bytes, encode_micros)| {
            Message::Statistics(Statistics { frames, skipped, bytes, encode_micros })
        }),
        ".{0,300}".prop_map(|text| Message::Log(Log::new(LogLevel::Warn, &text))),
        Just(Message::Error(ErrorCode::Unsupported)),
        (any::<[u32; 2]>(), proptest::collection::vec(".{0,80}", 0..=MAX_NAMES))
            .prop_map(|([total, offset], names)| classes(total, offset, &names)),
        (any::<[u32; 2]>(), 0.0_f32..=1.0).prop_map(|([frame, class], score)| Message::Class(ClassScore {
            frame,
            class,
            score
        })),
        (any::<[u32; 3]>(), proptest::collection::vec(any::<u8>(), 0..=MAX_PIXELS))
            .prop_map(|(numbers, pixels)| image(numbers, &pixels)),
        (0.001_f64..=1.0, any::<u64>()).prop_map(|(keep, seed)| settings(keep, seed)),
        Just(Message::Ask),
        any::<u32>().prop_map(Message::BuiltIn),
    ]
}

proptest! {
    #[test]
    fn every_message_survives(messages in proptest::collection::vec(message(), 1..6)) {
        let (mut sender, mut line) = (Sender::new(), Vec::new());
        for message in &messages {
            let mut out = [0; MAX_FRAME];
            let frame = sender.encode(message, &mut out).expect("every message fits");
            prop_assert!(frame.len() <= MAX_FRAME && frame.iter().filter(|b| **b == 0).count() == 1);
            line.extend_from_slice(frame);
        }
        let (_, received, damaged, _) = receive(&line);
        prop_assert_eq!(damaged, 0);
        prop_assert_eq!(received.into_iter().map(|r| r.message).collect::<Vec<_>>(), messages);
    }

    #[test]
    fn garbage_neither_panics_nor_passes(bytes in proptest::collection::vec(any::<u8>(), 0..4000)) {
        let (_, received, ..) = receive(&bytes);
        prop_assert!(received.is_empty());
    }
}
