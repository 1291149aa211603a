//! A bar for work that takes a while.

use indicatif::ProgressBar;

/// A bar on a terminal; nothing elsewhere.
#[must_use]
pub fn bar(length: usize, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(length as u64).with_message(what);
    let style = indicatif::ProgressStyle::with_template("{msg:16} {wide_bar} {pos}/{len}  {eta} left");
    bar.set_style(style.unwrap_or_else(|_| indicatif::ProgressStyle::default_bar()));
    bar
}
