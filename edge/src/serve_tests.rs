use super::*;
use common::{
    model::{ModelHash, PositionKind},
    normalize::PixelStats,
    wire::{Assembler, Feature, MAX_FRAME, Sender},
};
use proptest::prelude::*;

/// Gives the number of patches, the sum of their pixels and of their numbers, and which pooling was asked for.
struct Sums {
    spec: EncoderSpec,
    feature: [f32; 4],
}

impl Encode for Sums {
    type Error = &'static str;

    fn spec(&self) -> &EncoderSpec {
        &self.spec
    }

    fn encode(&mut self, patches: &[u8], ids: &[u32], pooling: Pooling) -> Result<&[f32], &'static str> {
        if patches.iter().all(|pixel| *pixel == 13) {
            return Err("unlucky");
        }
        let pixels: u32 = patches.iter().map(|pixel| u32::from(*pixel)).sum();
        self.feature = [ids.len() as f32, pixels as f32, ids.iter().sum::<u32>() as f32, f32::from(pooling as u8)];
        Ok(&self.feature)
    }
}

fn spec() -> EncoderSpec {
    EncoderSpec {
        image_height: 8,
        image_width: 12,
        channels: 3,
        patch_size: 2,
        dim: 4,
        depth: 1,
        heads: 1,
        mlp_ratio: 4.0,
        norm_eps: 1e-6,
        position: PositionKind::SinCos2d,
        pooling: Pooling::Mean,
        feature_dim: 4,
        pixels: PixelStats::IMAGENET,
        hash: ModelHash([7; 8]),
    }
}

/// What a board answers to a line: messages, features, statistics.
fn served(line: &[u8]) -> (Vec<Message>, Vec<Feature>, Statistics) {
    served_with(line, 300)
}

/// With memory for so many values of visible patches.
fn served_with(line: &[u8], visible: usize) -> (Vec<Message>, Vec<Feature>, Statistics) {
    let (mut image, mut patches, mut noise, mut ids) = ([0; 288], vec![0; visible], [0.0; 24], [0; 24]);
    let buffers = Buffers { image: &mut image, patches: &mut patches, noise: &mut noise, ids: &mut ids };
    let (mut now, mut answer) = (0, Vec::new());
    let clock = || {
        now += 50;
        now
    };
    let encoder = Sums { spec: spec(), feature: [0.0; 4] };
    let mut server = Server::new(encoder, clock, buffers, ("sums", "test")).expect("buffers are long enough");
    let statistics = server.run(line, &mut answer, &[]).expect("a line in memory does not fail");
    let (mut decoder, mut assembler) = (Decoder::new(), Assembler::default());
    let received: Vec<_> = answer.iter().filter_map(|b| decoder.push(*b)).map(|r| r.expect("whole")).collect();
    let features = received.iter().filter_map(|received| assembler.push(received)).collect();
    assert_eq!(received[0].message, Message::Hello(Hello::new(&spec(), Pooling::Mean, "sums", "test")));
    let messages = received.into_iter().skip(1).map(|received| received.message);
    (messages.filter(|message| !matches!(message, Message::Features(_))).collect(), features, statistics)
}

fn line(commands: &[Message]) -> Vec<u8> {
    let mut sender = Sender::new();
    commands.iter().flat_map(|command| sender.encode(command, &mut [0; MAX_FRAME]).expect("fits").to_vec()).collect()
}

fn parts(frame: u32, pixels: &[u8], length: usize) -> Vec<Message> {
    let part = |(index, pixels): (usize, &[u8])| {
        let pixels = heapless::Vec::from_slice(pixels).expect("short");
        Message::Image(ImagePart { frame, total: 288, offset: (index * length) as u32, pixels })
    };
    pixels.chunks(length).enumerate().map(part).collect()
}

fn settings(keep: f64, choice: Choice, pooling: Pooling) -> Message {
    Message::Settings(Settings { keep, choice, seed: 3, pooling })
}

fn pixels() -> Vec<u8> {
    (0..288).map(|i| (i * 7 % 256) as u8).collect()
}

fn error(code: ErrorCode) -> Message {
    Message::Error(code)
}

#[test]
fn an_image_is_answered_by_its_feature() {
    let sum: u32 = pixels().iter().map(|pixel| u32::from(*pixel)).sum();
    for length in [1, 100, 288] {
        let (messages, features, statistics) = served(&line(&parts(5, &pixels(), length)));
        assert_eq!((messages.len(), features.len(), statistics.frames), (0, 1, 1));
        let Feature { frame, kept, patches, micros, pooling, ref values, .. } = features[0];
        assert_eq!((frame, kept, patches, micros, pooling), (5, 24, 24, 50, Pooling::Mean));
        assert_eq!(values, &[24.0, sum as f32, 276.0, 1.0]);
    }
}

#[test]
fn only_the_chosen_patches_are_encoded() {
    let grid = spec().grid().unwrap();
    let (mut noise, mut ids) = ([0.0; 24], [0; 24]);
    let mut commands = vec![settings(0.25, Choice::Random, Pooling::Cls)];
    commands.extend([4, 9].iter().flat_map(|frame| parts(*frame, &pixels(), 288)));
    let (messages, features, _) = served(&line(&commands));
    assert_eq!((messages.len(), features.len()), (0, 2));
    for feature in features {
        let visible = choose(Choice::Random, &grid, 0.25, (3, u64::from(feature.frame)), &mut noise, &mut ids);
        let mut sum = 0;
        for id in &ids[..visible] {
            let mut patch = [0; 12];
            grid.extract(&pixels(), *id as usize, &mut patch).unwrap();
            sum += patch.iter().map(|pixel| u32::from(*pixel)).sum::<u32>();
        }
        assert_eq!((visible, feature.kept, feature.pooling), (6, 6, Pooling::Cls));
        assert_eq!(feature.values, [6.0, sum as f32, ids[..6].iter().sum::<u32>() as f32, 0.0]);
    }
}

#[test]
fn who_asks_learns_who_is_there_and_what_was_done() {
    let mut commands = parts(0, &pixels(), 288);
    commands.extend([Message::Error(ErrorCode::Busy), Message::Ask, Message::BuiltIn(77)]);
    let (messages, features, _) = served(&line(&commands));
    let [refused, hello, Message::Statistics(statistics)] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!(refused, &error(ErrorCode::Unsupported));
    assert!(matches!(hello, Message::Hello(hello) if hello.model == ModelHash([7; 8])));
    assert_eq!((statistics.frames, statistics.skipped, statistics.encode_micros), (1, 1, 50));
    assert_eq!((features[1].frame, features[1].name.as_str()), (77, "built-in"));
    // The formula of docs/wire.md.
    let mut sum = 0;
    for (row, column) in (0..8).flat_map(|row| (0..12).map(move |column| (row, column))) {
        sum += row * 255 / 7 + column * 255 / 11 + if (row / 2 + column / 2) % 2 == 0 { 255 } else { 0 };
    }
    assert_eq!(features[1].values[1], sum as f32);
}

#[test]
fn impossible_orders_are_refused() {
    let wrong_total = Message::Image(ImagePart { frame: 0, total: 4, offset: 0, pixels: heapless::Vec::new() });
    for command in [
        settings(0.0, Choice::Random, Pooling::Cls),
        settings(1.1, Choice::Grid, Pooling::Cls),
        settings(f64::NAN, Choice::Random, Pooling::Cls),
        settings(0.5, Choice::All, Pooling::Cls),
        wrong_total,
        Message::Statistics(Statistics::default()),
    ] {
        let (messages, features, statistics) = served(&line(std::slice::from_ref(&command)));
        assert_eq!(
            (messages, features.len(), statistics.skipped),
            (vec![error(ErrorCode::Unsupported)], 0, 1),
            "{command:?}"
        );
    }
    let (messages, features, _) = served(&line(&parts(0, &[13; 288], 288)));
    let [Message::Log(log), refused] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!((log.text.as_str(), refused, features.len()), ("unlucky", &error(ErrorCode::Unsupported), 0));
}

#[test]
fn an_image_with_a_missing_part_is_answered_by_one_error_and_the_next_by_its_feature() {
    for lost in 0..6 {
        let mut commands = parts(1, &pixels(), 50);
        commands.remove(lost);
        let whole = if lost == 5 { 0 } else { 1 };
        commands.extend(parts(2, &pixels(), 50));
        let (messages, features, _) = served(&line(&commands));
        assert_eq!((messages.len(), features.len(), features[0].frame), (whole, 1, 2), "part {lost}: {messages:?}");
        assert!(messages.iter().all(|message| *message == error(ErrorCode::Damaged)));
    }
    // The same image again.
    let mut commands = parts(1, &pixels(), 50);
    commands.remove(2);
    commands.extend(parts(1, &pixels(), 50));
    assert_eq!(served(&line(&commands)).1.len(), 1);
}

#[test]
fn a_board_with_memory_for_few_patches_refuses_more() {
    // 10 patches and half of one.
    let mut commands = parts(1, &pixels(), 288);
    commands.push(settings(0.5, Choice::Random, Pooling::Mean));
    commands.push(settings(0.45, Choice::Grid, Pooling::Mean));
    commands.extend(parts(2, &pixels(), 288));
    let (messages, features, statistics) = served_with(&line(&commands), 126);
    let refused = |visible: usize| {
        let text = format!("{visible} patches would be visible, at most 10 can be: keep fewer");
        [Message::Log(Log::new(LogLevel::Error, &text)), error(ErrorCode::Unsupported)]
    };
    assert_eq!(messages, [refused(24), refused(12)].concat());
    assert_eq!((statistics.skipped, features.len()), (2, 1));
    assert_eq!((features[0].frame, features[0].kept), (2, 10));
}

#[test]
fn a_buffer_that_is_too_short_is_an_error() {
    let (mut image, mut patches, mut noise, mut ids) = ([0; 288], [0; 11], [0.0; 24], [0; 24]);
    let buffers = Buffers { image: &mut image, patches: &mut patches, noise: &mut noise, ids: &mut ids };
    let encoder = Sums { spec: spec(), feature: [0.0; 4] };
    let error = Server::new(encoder, || 0, buffers, ("", "")).err();
    assert_eq!(error, Some(PatchError::Length { what: "the patch buffer", expected: 12, found: 11 }));
}

/// Commands with random contents, most of them not from an honest host.
fn command() -> impl Strategy<Value = Message> {
    let bytes = proptest::collection::vec(any::<u8>(), 0..300);
    let part = (0..3_u32, prop_oneof![Just(288), any::<u32>()], prop_oneof![0..300_u32, any::<u32>()], bytes);
    prop_oneof![
        part.prop_map(|(frame, total, offset, pixels)| {
            let pixels = heapless::Vec::from_slice(&pixels).expect("short");
            Message::Image(ImagePart { frame, total, offset, pixels })
        }),
        any::<f64>().prop_map(|keep| settings(keep, Choice::Block, Pooling::MeanNorm)),
        any::<u32>().prop_map(Message::BuiltIn),
        Just(Message::Ask),
    ]
}

proptest! {
    #[test]
    fn nothing_on_the_line_stops_a_board(
        noise in proptest::collection::vec(any::<u8>(), 0..2000),
        commands in proptest::collection::vec(command(), 0..12),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut input = line(&commands);
        for (place, byte) in flips {
            if !input.is_empty() {
                let place = place.index(input.len());
                input[place] = byte;
            }
        }
        input.extend(noise);
        // The line is good again.
        input.push(0);
        input.extend(line(&[settings(1.0, Choice::All, Pooling::Mean)]));
        input.extend(line(&parts(4_000_000_000, &pixels(), 100)));
        let (_, features, _) = served(&input);
        let last = features.last().expect("the last image is whole");
        prop_assert_eq!((last.frame, last.values[0]), (4_000_000_000, 24.0));
        prop_assert_eq!(last.values[1], pixels().iter().map(|pixel| f32::from(*pixel)).sum::<f32>());
    }
}
