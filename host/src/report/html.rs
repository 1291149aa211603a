//! Pictures and lists of terms as HTML. Everything is a [`Markup`], into which text comes escaped.

use data_encoding::BASE64;
use maud::{Markup, html};

/// A picture that is part of the page.
#[must_use]
pub fn picture(png: &[u8], alt: &str) -> Markup {
    let size = png_size(png);
    html! {
        img width=[size.map(|size| size.0)] height=[size.map(|size| size.1)] alt=(alt)
            src={ "data:image/png;base64," (BASE64.encode(png)) };
    }
}

/// A list of terms; nothing if it is empty.
#[must_use]
pub fn facts(class: &str, facts: &[(String, String)]) -> Markup {
    html! {
        @if !facts.is_empty() {
            dl class=(class) {
                @for (name, value) in facts {
                    div { dt { (name) } dd { (value) } }
                }
            }
        }
    }
}

/// Width and height in the header of a PNG.
#[must_use]
pub fn png_size(png: &[u8]) -> Option<(u32, u32)> {
    let header = png.strip_prefix(b"\x89PNG\r\n\x1a\n")?;
    let number = |at: usize| Some(u32::from_be_bytes(header.get(at..at + 4)?.try_into().ok()?));
    (header.get(4..8)? == b"IHDR").then_some(())?;
    Some((number(8)?, number(12)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_picture_says_its_size() {
        let mut png = std::io::Cursor::new(Vec::new());
        image::RgbImage::new(3, 2).write_to(&mut png, image::ImageFormat::Png).expect("png");
        let text = picture(png.get_ref(), "a \"picture\"").into_string();
        let head =
            "<img width=\"3\" height=\"2\" alt=\"a &quot;picture&quot;\" src=\"data:image/png;base64,iVBORw0KGgo";
        assert!(text.starts_with(head), "{text}");
        assert_eq!(picture(b"fo", "").into_string(), "<img alt=\"\" src=\"data:image/png;base64,Zm8=\">");
    }

    proptest! {
        #[test]
        fn text_can_open_no_tag_and_close_no_attribute(text in any::<String>()) {
            let page = facts(&text, &[(text.clone(), text.clone())]).into_string();
            prop_assert_eq!(page.matches('<').count(), 8);
            prop_assert_eq!(page.matches('>').count(), 8);
            prop_assert_eq!(page.matches('"').count(), 2);
        }
    }
}
