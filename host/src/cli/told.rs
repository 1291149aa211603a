//! What the library refuses, told by the options of the command line. Misuse ends with exit code 2.

use crate::{
    ablate::error::SweepError,
    bench::{check::files::NoParity, encode::EncodeError, threads::ThreadsError},
    data::{augment::ColourError, classes::ClassError, dataset::DatasetError},
    device::precision::PrecisionError,
    evaluate::linear::LinearError,
    flash::FlashError,
    link::{
        port::{OneWay, PortError},
        sink::NameError,
        upload::UploadError,
    },
    objective::joint::config::JointError,
    pictures::fill::NoDecoder,
    preset::validate::RecipeError,
    run::{
        folder::{FolderError, TAKE_ANOTHER},
        policy::PolicyError,
        recipe::FinetuneError,
    },
};
use console::misuse;
use std::error::Error;

/// Instead of [`TAKE_ANOTHER`].
const NAME_ANOTHER: &str = "name another --out";

/// The error in the words of the command line; as it is, if the library's are the same.
pub(super) fn told(error: anyhow::Error) -> anyhow::Error {
    let found = error.chain().enumerate().find_map(|(place, cause)| Some((place, tell(cause)?)));
    let Some((place, told)) = found else { return error };
    let contexts: Vec<String> = error.chain().take(place).map(ToString::to_string).collect();
    contexts.into_iter().rev().fold(told, |error, context| error.context(context))
}

fn tell(cause: &(dyn Error + 'static)) -> Option<anyhow::Error> {
    let told = None
        .or_else(|| cause.downcast_ref().map(recipe))
        .or_else(|| cause.downcast_ref().map(finetune))
        .or_else(|| cause.downcast_ref().map(class))
        .or_else(|| cause.downcast_ref().map(policy))
        .or_else(|| cause.downcast_ref().map(precision))
        .or_else(|| cause.downcast_ref().map(threads))
        .or_else(|| cause.downcast_ref().map(no_parity))
        .or_else(|| cause.downcast_ref().map(no_decoder))
        .or_else(|| cause.downcast_ref().map(one_way))
        .or_else(|| cause.downcast_ref().map(port))
        .or_else(|| cause.downcast_ref().map(name))
        .or_else(|| cause.downcast_ref().map(encode))
        .or_else(|| cause.downcast_ref().map(sweep));
    let misused = told.map(misuse);
    misused
        .or_else(|| cause.downcast_ref().map(dataset))
        .or_else(|| cause.downcast_ref().map(folder))
        .or_else(|| cause.downcast_ref().map(flash))
        .or_else(|| cause.downcast_ref().and_then(linear))
        .or_else(|| cause.downcast_ref().and_then(upload))
}

/// The text of `error` with another end.
fn ending(error: &impl Error, end: &str, other: &str) -> String {
    let text = error.to_string();
    text.strip_suffix(end).map_or_else(|| text.clone(), |start| format!("{start}{other}"))
}

fn recipe(error: &RecipeError) -> String {
    match error {
        RecipeError::MaskRatio(_) | RecipeError::NothingKept { .. } | RecipeError::NothingRemoved { .. } => {
            error.to_string().replacen("mask_ratio", "--mask-ratio", 1)
        }
        RecipeError::Zero => "--epochs, --batch-size and --accumulate must be at least 1".into(),
        RecipeError::TooLarge => "--batch-size times --accumulate is too large a number".into(),
        RecipeError::Rate => "--blr must be a positive number".into(),
        RecipeError::Seam => "--seam-weight and --seam-gradient must be 0 or more".into(),
        RecipeError::PredictRatio(_) => error.to_string().replacen("predict_ratio", "--predict-ratio", 1),
        RecipeError::SeamOfSome => {
            "--seam-weight and --seam-gradient need the prediction of all removed patches: use --predict-ratio 1, or \
             leave both out"
                .into()
        }
        RecipeError::EncoderMaskTokens => {
            "--encoder-mask-tokens true goes with --decoder self and --predict-ratio 1 alone, as in --recipe paper: \
             mask tokens that pass through the encoder all reach the decoder"
                .into()
        }
        RecipeError::Colour(ColourError { field, value, bounds }) => {
            format!("--{} {value} must be {bounds}", field.replace('_', "-"))
        }
        RecipeError::NoCrop(augment) => {
            format!("--crop-area is of random crops: it has no meaning with --augment {}", augment.name())
        }
        RecipeError::TwoJitters => {
            "--augment colour-jitter is a jitter already: leave it out, or use --jitter 0".into()
        }
        RecipeError::WarmUp => "--warmup-epochs must be 0 or more".into(),
        RecipeError::Joint(error) => match error {
            JointError::Weight => "--joint-weight must be above 0".into(),
            JointError::Reconstruction => {
                "--reconstruction-weight must be 0 or more, and above 0 without --joint".into()
            }
            JointError::Views => "--views must be from 2 to 16".into(),
            JointError::ViewKeep => "--view-keep must be above 0 and at most 1".into(),
            JointError::Batch => error.to_string().replace("batch_size", "--batch-size"),
            JointError::MaskTokens => {
                "--encoder-mask-tokens goes with --joint none alone: --joint compares features of visible \
                                       patches alone"
                    .into()
            }
            JointError::Projector | JointError::Temperature | JointError::Sigreg => error.to_string(),
        },
        RecipeError::FewImages { images, batch, parts: 1 } => {
            format!("{images} images are fewer than one batch of {batch}: use --batch-size {images}")
        }
        RecipeError::FewImages { images, parts, .. } if images < parts => {
            format!("{images} images are fewer than --accumulate {parts}: use a smaller one")
        }
        RecipeError::FewImages { images, batch, parts } => format!(
            "{images} images are fewer than one step of {parts} batches of {batch}: use --batch-size {}",
            images / parts
        ),
    }
}

fn finetune(error: &FinetuneError) -> String {
    match error {
        FinetuneError::Keep(keep) => format!("--keep {keep} is not above 0 and at most 1"),
        FinetuneError::Zero => "--epochs and --batch-size must be at least 1".into(),
        FinetuneError::NoImages => "--limit and --test-limit must be at least 1".into(),
        FinetuneError::Rate => "--blr must be a positive number".into(),
        FinetuneError::Negative(name) => format!("--{} must be 0 or more", name.replace('_', "-")),
        FinetuneError::LayerDecay => "--layer-decay must be above 0 and at most 1, which is off".into(),
        FinetuneError::RandomErasing => "--random-erasing must be between 0, which is off, and 1".into(),
        FinetuneError::Probability(name) => {
            format!("--{} must be 0, which is off, or less than 1", name.replace('_', "-"))
        }
        FinetuneError::Blocks { blocks, depth } => {
            format!("--blocks {blocks}: use 0, 0.5 or a whole number up to {depth}, the model's blocks")
        }
        FinetuneError::FewImages { images, .. } => format!("{error}: use --batch-size {images}"),
    }
}

fn class(error: &ClassError) -> String {
    match error {
        ClassError::Folder(_) => format!("{error}; --train and --test take a folder of images a class"),
        ClassError::Outside(_) => error.to_string(),
        ClassError::Unknown { .. } => format!("{error}: --train and --test need the same class folders"),
    }
}

fn policy(error: &PolicyError) -> String {
    match error {
        PolicyError::Endless => "--checkpoint-seconds and --checkpoint-steps must be at least 1".into(),
        PolicyError::KeepsNothing => "--keep-checkpoints must be at least 1".into(),
    }
}

fn precision(error: &PrecisionError) -> String {
    match error {
        PrecisionError::NoBf16(_) => format!("{error}: use --precision fp32"),
        PrecisionError::Began(_) => format!("{error}: leave --precision out"),
    }
}

fn threads(ThreadsError { threads, most }: &ThreadsError) -> String {
    format!("--threads {threads}: from 1 to {most} on this machine")
}

fn no_parity(NoParity(folder): &NoParity) -> String {
    let shown = folder.display();
    format!(
        "no parity files in {shown}: name their folder with --parity; it is tests/parity/mae-32 in the source tree"
    )
}

fn no_decoder(error: &NoDecoder) -> String {
    error.to_string().replacen("reconstruction_weight", "--reconstruction-weight", 1)
}

fn one_way(error: &OneWay) -> String {
    match error {
        OneWay::StandardInput => "standard input goes one way; --images needs a serial port".into(),
        OneWay::NoSerialPort(port) => format!("{port} is no serial port, which --images needs"),
    }
}

fn port(error: &PortError) -> String {
    match error {
        PortError::NoSpeed => format!("--{error}"),
        PortError::NoControl(port) => format!("{port} is no serial port, which --dtr and --rts are for"),
    }
}

fn name(error: &NameError) -> String {
    format!("--out {error}")
}

fn sweep(error: &SweepError) -> String {
    match error {
        SweepError::Twice(value) => format!("--values names {value} twice"),
        SweepError::Value { value, reason } => format!("--values {value}: {reason}"),
        SweepError::OnlyFinetune => "partial is about fine-tuning: leave --evaluate out".into(),
        SweepError::Busy(_) => ending(error, TAKE_ANOTHER, NAME_ANOTHER),
        SweepError::Different { .. } => {
            ending(error, &format!("{TAKE_ANOTHER}, or remove it"), &format!("{NAME_ANOTHER}, or remove it"))
        }
        SweepError::NoResults(_) => format!("{error} (--join takes those of other sweeps)"),
    }
}

/// Images that cannot be decoded are no misuse.
fn dataset(error: &DatasetError) -> anyhow::Error {
    match error {
        DatasetError::Folder(_) => {
            misuse(format!("{error}; --data takes a folder of images, or tar archives of them"))
        }
        DatasetError::FolderOfShards { pattern, .. } => misuse(ending(
            error,
            &format!("name these, as {pattern}"),
            // A shell would fill in braces in another way than --data.
            &if pattern.contains('*') {
                format!("name these, as --data {pattern}")
            } else {
                format!("name these, as --data '{pattern}'")
            },
        )),
        DatasetError::Shards(error) if error.is_misuse() => misuse(format!("--data: {error}")),
        DatasetError::Several(_) => misuse(format!("--data {error}")),
        DatasetError::OnlyRgb => misuse(format!("{error}: use --data for other channels")),
        DatasetError::Shards(_) | DatasetError::Damaged { .. } => anyhow::anyhow!("{error}"),
    }
}

/// A training that diverges is no misuse.
fn folder(error: &FolderError) -> anyhow::Error {
    match error {
        FolderError::Diverged { .. } => anyhow::anyhow!(ending(error, "blr", "--blr")),
        _ => misuse(ending(error, TAKE_ANOTHER, NAME_ANOTHER)),
    }
}

/// A board that cannot be reached or does not work is no misuse.
fn flash(error: &FlashError) -> anyhow::Error {
    match error {
        FlashError::Unreadable { .. } | FlashError::NoProgram(_) | FlashError::OtherMachine(_) => {
            misuse(error.to_string())
        }
        FlashError::Address(_) => misuse(format!("--to {error}")),
        FlashError::Silent(_) => anyhow::anyhow!(ending(error, "timeout", "--timeout")),
        FlashError::Refused { .. } | FlashError::Ended(_) => anyhow::anyhow!(error.to_string()),
    }
}

fn encode(error: &EncodeError) -> String {
    match error {
        EncodeError::NoForm { .. } => error.to_string(),
        EncodeError::Visible { visible, patches } => {
            format!("--visible {visible}: {patches} patches are the most of this model, 1 the least")
        }
    }
}

fn linear(error: &LinearError) -> Option<anyhow::Error> {
    (*error == LinearError::Diverged).then(|| anyhow::anyhow!(ending(error, "blr", "--blr")))
}

fn upload(error: &UploadError) -> Option<anyhow::Error> {
    match error {
        UploadError::Silent { .. } => Some(anyhow::anyhow!(ending(error, "baud?", "--baud?"))),
        UploadError::Damaged { .. } => {
            let end = |baud| format!("{baud} or a shorter line");
            Some(anyhow::anyhow!(ending(error, &end("baud"), &end("--baud"))))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use console::Misuse;
    use std::path::PathBuf;

    #[test]
    fn told_errors_keep_their_contexts_and_others_stay_as_they_are() {
        let told_policy = told(anyhow::Error::new(PolicyError::KeepsNothing).context("cannot go on"));
        assert_eq!(format!("{told_policy:#}"), "cannot go on: --keep-checkpoints must be at least 1");
        assert!(told_policy.is::<Misuse>());
        let too_few = LinearError::TooFew { classes: 1, images: 9 };
        assert!(told(too_few.clone().into()).downcast_ref() == Some(&too_few));
    }

    #[test]
    fn what_ends_in_advice_names_the_option() {
        let (path, difference, what) = (PathBuf::from("runs/a"), "epochs".to_owned(), "image 1".to_owned());
        let diverged = FolderError::Diverged { what: "the loss is", epoch: 1, step: 2, kept: "kept".into() };
        let (foreign, other) = (FolderError::Foreign(path.clone()), SweepError::Busy(path.clone()));
        let trained = SweepError::Different { path, difference };
        let silent = UploadError::Silent { what: what.clone(), seconds: 1.0 };
        for (error, option, misused) in [
            (anyhow::Error::new(diverged), "with a smaller --blr", false),
            (foreign.into(), "or a model: name another --out", true),
            (other.into(), "or name another --out", true),
            (trained.into(), "name another --out, or remove it", true),
            (LinearError::Diverged.into(), "lower --blr", false),
            (silent.into(), "at the same --baud?", false),
            (UploadError::Damaged { what }.into(), "try a lower --baud or a shorter line", false),
            (FlashError::Silent(3).into(), "use a longer --timeout", false),
        ] {
            let told = told(error);
            assert!(told.to_string().ends_with(option), "{told}");
            assert_eq!(told.is::<Misuse>(), misused, "{told}");
        }
    }
}
