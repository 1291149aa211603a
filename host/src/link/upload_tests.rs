use super::*;
use common::{
    model::{EncoderSpec, ModelHash, PositionKind},
    normalize::PixelStats,
};
use edge::serve::{Buffers, Encode, Server};
use embedded_io_adapters::std::FromStd;
use std::{
    collections::VecDeque,
    sync::mpsc::{Receiver, Sender as Give, channel},
    thread,
};

/// Gives the number of patches and the sum of their pixels.
struct Sums([f32; 2]);

fn spec() -> EncoderSpec {
    EncoderSpec {
        image_height: 24,
        image_width: 24,
        channels: 3,
        patch_size: 4,
        dim: 2,
        depth: 1,
        heads: 1,
        mlp_ratio: 4.0,
        norm_eps: 1e-6,
        position: PositionKind::SinCos2d,
        pooling: Pooling::Mean,
        feature_dim: 2,
        pixels: PixelStats::IMAGENET,
        hash: ModelHash([7; 8]),
    }
}

impl Encode for Sums {
    type Error = &'static str;

    fn spec(&self) -> &EncoderSpec {
        static SPEC: std::sync::OnceLock<EncoderSpec> = std::sync::OnceLock::new();
        SPEC.get_or_init(spec)
    }

    fn encode(&mut self, patches: &[u8], ids: &[u32], _: Pooling) -> Result<&[f32], &'static str> {
        self.0 = [ids.len() as f32, patches.iter().map(|pixel| f32::from(*pixel)).sum()];
        Ok(&self.0)
    }
}

/// What happens to each byte on the way.
type Fate = Box<dyn FnMut(u8) -> Vec<u8> + Send>;

/// One direction of a line; reading waits for at most `patience`, for ever without.
struct Half {
    come: Receiver<u8>,
    patience: Option<Duration>,
}

impl Read for Half {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let first = match self.patience {
            Some(patience) => self.come.recv_timeout(patience).map_err(|_| io::ErrorKind::TimedOut)?,
            None => match self.come.recv() {
                Ok(byte) => byte,
                Err(_) => return Ok(0),
            },
        };
        buffer[0] = first;
        let mut read = 1;
        for (place, byte) in buffer[1..].iter_mut().zip(self.come.try_iter()) {
            *place = byte;
            read += 1;
        }
        Ok(read)
    }
}

struct Other {
    go: Give<u8>,
    fate: Fate,
}

impl Write for Other {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for byte in bytes {
            for byte in (self.fate)(*byte) {
                self.go.send(byte).map_err(|_| io::ErrorKind::BrokenPipe)?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One byte in `every` is dropped, doubled or changed.
fn faulty(seed: u64, every: u64) -> Fate {
    let mut state = seed;
    Box::new(move |byte| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        match (state >> 33) % (3 * every) {
            0 => vec![],
            1 => vec![byte, byte],
            2 => vec![byte ^ 1 << (state >> 61)],
            _ => vec![byte],
        }
    })
}

fn clean() -> Fate {
    Box::new(|byte| vec![byte])
}

type Line = Uploader<Half, Other>;

/// A board with memory for `most` patches, and the host's end of its line.
fn board(to: Fate, from: Fate, most: usize) -> Line {
    let ((go, come), (answer, answers)) = (channel(), channel());
    thread::spawn(move || {
        let (mut image, mut patches) = (vec![0; 24 * 24 * 3], vec![0; most * 48]);
        let (mut noise, mut ids) = (vec![0.0; 36], vec![0; 36]);
        let buffers = Buffers { image: &mut image, patches: &mut patches, noise: &mut noise, ids: &mut ids };
        let mut server = Server::new(Sums([0.0; 2]), || 0, buffers, ("sums", "test")).expect("buffers fit");
        let reader = Half { come, patience: None };
        let writer = Other { go: answer, fate: from };
        // Ends with the host's end.
        drop(server.run(FromStd::new(reader), FromStd::new(writer), &[]));
    });
    let host = (Half { come: answers, patience: Some(Duration::from_millis(20)) }, Other { go, fate: to });
    Uploader::new(host, 1_000_000, Duration::from_millis(200), || false, |_| ())
}

fn settings(keep: f64, choice: Choice) -> Settings {
    Settings { keep, choice, seed: 0, pooling: Pooling::Mean }
}

fn pixels(number: u32) -> Vec<u8> {
    (0..24 * 24 * 3).map(|i| (i * (number + 3) % 251) as u8).collect()
}

fn sum(pixels: &[u8]) -> f32 {
    pixels.iter().map(|pixel| f32::from(*pixel)).sum()
}

#[test]
fn every_image_is_answered_over_a_faulty_line() {
    let mut repeated = 0;
    for seed in 0..4 {
        let mut line = board(faulty(seed, 8000), faulty(seed + 100, 2000), 36);
        let hello = line.greet().expect("greeting");
        assert_eq!((hello.patches, hello.feature_dim), (36, 2));
        let all = settings(1.0, Choice::All);
        line.set(all).expect("settings");
        for number in 0..8 {
            let feature = line.image(&hello, all, number, &pixels(number)).expect("answer");
            assert_eq!((feature.frame, feature.values), (number, vec![36.0, sum(&pixels(number))]));
        }
        line.figures().expect("figures");
        repeated += line.repeated();
    }
    assert!(repeated > 0, "the line was not faulty");
}

#[test]
fn a_board_that_restarted_and_lost_its_settings_is_told_again() {
    let mut line = board(clean(), clean(), 36);
    let hello = line.greet().expect("greeting");
    // As after a restart: it was never told.
    let quarter = settings(0.25, Choice::Grid);
    let feature = line.image(&hello, quarter, 5, &pixels(1)).expect("answer");
    assert_eq!((feature.kept, line.repeated()), (9, 1));
}

#[test]
fn what_the_board_refuses_is_said_with_its_reason() {
    let mut line = board(clean(), clean(), 10);
    let hello = line.greet().expect("greeting");
    let error = line.set(settings(0.5, Choice::Random)).expect_err("18 of 10 patches");
    assert_eq!(
        error.to_string(),
        "the board refuses 0.5 of the patches: 18 patches would be visible, at most 10 can be: keep fewer"
    );
    line.set(settings(0.25, Choice::Random)).expect("9 of 10 patches");
    line.image(&hello, settings(0.25, Choice::Random), 0, &pixels(0)).expect("answer");
}

#[test]
fn a_line_without_a_board_or_with_a_broken_way_ends_with_advice() {
    let mut line = board(Box::new(|_| vec![]), Box::new(|_| vec![]), 36);
    assert!(line.greet().expect_err("nothing arrives").to_string().contains("is it on"));
    assert_eq!(line.repeated(), 4);

    // Only short frames pass: the questions, but no image.
    let mut under_way = VecDeque::new();
    let short = move |byte: u8| {
        under_way.push_back(byte);
        if byte != 0 {
            return vec![];
        }
        if under_way.len() > 100 {
            under_way.iter_mut().skip(50).take(10).for_each(|byte| *byte = 1);
        }
        under_way.drain(..).collect()
    };
    let mut line = board(Box::new(short), clean(), 36);
    let hello = line.greet().expect("greeting");
    let error = line.image(&hello, settings(1.0, Choice::All), 0, &pixels(0)).expect_err("never whole");
    assert!(matches!(error, UploadError::Damaged { .. }), "{error}");

    let mut line = board(clean(), clean(), 36);
    line.stop = Box::new(|| true);
    assert!(matches!(line.greet(), Err(UploadError::Stopped)));
}
