//! The inverse cosine transform, exact to the bit as libjpeg-turbo's slow integer one (`jidctint`), wrapping and
//! saturating where its vector code does.

use super::JpegError;

const CONST_BITS: u32 = 13;
const PASS1_BITS: u32 = 2;

/// A row or a column: what is computed for each of them is computed for eight at once.
type Lanes = [i16; 8];

/// Transforms dequantised coefficients, in natural order, to samples around 128: eight rows of `out`, `stride` apart.
/// `last` is the zigzag index of the last that is not 0.
///
/// # Errors
/// If `out` is too short.
#[inline]
pub(super) fn transform(block: &[i16; 64], last: usize, out: &mut [u8], stride: usize) -> Result<(), JpegError> {
    let rows = out.get_mut(..7 * stride + 8).ok_or(JpegError::Damaged("a block lies outside"))?;
    if last == 0 {
        let sample = sample(block[0].wrapping_add(4) >> 3);
        for row in rows.chunks_mut(stride) {
            row[..8].fill(sample);
        }
        return Ok(());
    }
    let lanes = std::array::from_fn(|y| std::array::from_fn(|x| block[8 * y + x]));
    // The first ten in zigzag order lie in the first four rows and columns.
    let samples = if last < 10 { both::<4>(&lanes) } else { both::<8>(&lanes) };
    let mut bytes = [0; 64];
    for (byte, value) in bytes.iter_mut().zip(samples.as_flattened()) {
        *byte = sample(*value);
    }
    for (row, bytes) in rows.chunks_mut(stride).zip(bytes.as_chunks::<8>().0) {
        if let Some(row) = row.first_chunk_mut() {
            *row = *bytes;
        }
    }
    Ok(())
}

/// Both dimensions, of coefficients that are 0 from row and column `SIZE` on.
#[inline(always)]
fn both<const SIZE: usize>(lanes: &[Lanes; 8]) -> [Lanes; 8] {
    let columns = pass::<SIZE, { CONST_BITS - PASS1_BITS }>(lanes);
    transposed(&pass::<SIZE, { CONST_BITS + PASS1_BITS + 3 }>(&transposed(&columns)))
}

#[inline(always)]
fn sample(value: i16) -> u8 {
    (value.clamp(-128, 127) + 128) as u8
}

/// In three rounds, each of which compilers know as an instruction.
#[inline(always)]
fn transposed(lanes: &[Lanes; 8]) -> [Lanes; 8] {
    let low = |a: &Lanes, b: &Lanes| [a[0], b[0], a[1], b[1], a[2], b[2], a[3], b[3]];
    let high = |a: &Lanes, b: &Lanes| [a[4], b[4], a[5], b[5], a[6], b[6], a[7], b[7]];
    let round = |i: &[Lanes; 8]| {
        [
            low(&i[0], &i[4]),
            high(&i[0], &i[4]),
            low(&i[1], &i[5]),
            high(&i[1], &i[5]),
            low(&i[2], &i[6]),
            high(&i[2], &i[6]),
            low(&i[3], &i[7]),
            high(&i[3], &i[7]),
        ]
    };
    round(&round(&round(lanes)))
}

/// One dimension. Products are of 16 bits by 16 bits, as processors multiply them best.
#[inline(always)]
fn pass<const SIZE: usize, const SHIFT: u32>(i: &[Lanes; 8]) -> [Lanes; 8] {
    let mut out = [[0; 8]; 8];
    for x in 0..8 {
        let at = |y: usize| if y < SIZE { i[y][x] } else { 0 };
        let mul = |value: i16, constant: i16| i32::from(value) * i32::from(constant);
        let wide = |value: i16| i32::from(value) << CONST_BITS;
        let t3 = mul(at(2), 4433 + 6270).wrapping_add(mul(at(6), 4433));
        let t2 = mul(at(2), 4433).wrapping_add(mul(at(6), 4433 - 15137));
        let (t0, t1) = (wide(at(0).wrapping_add(at(4))), wide(at(0).wrapping_sub(at(4))));
        let even = [t0.wrapping_add(t3), t1.wrapping_add(t2), t1.wrapping_sub(t2), t0.wrapping_sub(t3)];
        let (o0, o1, o2, o3) = (at(7), at(5), at(3), at(1));
        let (z3, z4) = (o0.wrapping_add(o2), o1.wrapping_add(o3));
        let s3 = mul(z3, 9633 - 16069).wrapping_add(mul(z4, 9633));
        let s4 = mul(z4, 9633 - 3196).wrapping_add(mul(z3, 9633));
        let odd = [
            s4.wrapping_add(mul(o3, 12299 - 7373).wrapping_add(mul(o0, -7373))),
            s3.wrapping_add(mul(o2, 25172 - 20995).wrapping_add(mul(o1, -20995))),
            s4.wrapping_add(mul(o1, 16819 - 20995).wrapping_add(mul(o2, -20995))),
            s3.wrapping_add(mul(o0, 2446 - 7373).wrapping_add(mul(o3, -7373))),
        ];
        let narrow = |value: i32| {
            let value = value.wrapping_add(1 << (SHIFT - 1)) >> SHIFT;
            value.clamp(i16::MIN.into(), i16::MAX.into()) as i16
        };
        for y in 0..4 {
            out[y][x] = narrow(even[y].wrapping_add(odd[y]));
            out[7 - y][x] = narrow(even[y].wrapping_sub(odd[y]));
        }
    }
    out
}
