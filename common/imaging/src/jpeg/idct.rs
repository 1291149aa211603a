//! The inverse cosine transform, exact to the bit as libjpeg's slow integer one (`jidctint`).

use super::JpegError;

const CONST_BITS: u32 = 13;
const PASS1_BITS: u32 = 2;

/// Transforms dequantised coefficients, in natural order, to samples around 128: eight rows of `out`, `stride` apart.
/// `last` is the zigzag index of the last that is not 0.
///
/// # Errors
/// If `out` is too short.
#[inline]
pub(super) fn transform(block: &[i32; 64], last: usize, out: &mut [u8], stride: usize) -> Result<(), JpegError> {
    let rows = out.get_mut(..7 * stride + 8).ok_or(JpegError::Damaged("a block lies outside"))?;
    if last == 0 {
        let sample = clamp(block[0].wrapping_add(4) >> 3);
        for row in rows.chunks_mut(stride) {
            row[..8].fill(sample);
        }
        return Ok(());
    }
    let mut columns = [0_i32; 64];
    for x in 0..8 {
        let column = std::array::from_fn(|y| block[8 * y + x]);
        let even = even::<CONST_BITS>(&column);
        let odd = odd(&column);
        for (y, value) in butterfly::<{ CONST_BITS - PASS1_BITS }>(even, odd).into_iter().enumerate() {
            columns[8 * y + x] = value;
        }
    }
    for (row, input) in rows.chunks_mut(stride).zip(columns.as_chunks::<8>().0) {
        let samples = butterfly::<{ CONST_BITS + PASS1_BITS + 3 }>(even::<CONST_BITS>(input), odd(input));
        row[..8].copy_from_slice(&samples.map(clamp));
    }
    Ok(())
}

#[inline(always)]
fn clamp(sample: i32) -> u8 {
    (sample + 128).clamp(0, 255) as u8
}

#[inline(always)]
fn mul(value: i32, constant: i32) -> i32 {
    value.wrapping_mul(constant)
}

#[inline(always)]
fn add(a: i32, b: i32) -> i32 {
    a.wrapping_add(b)
}

#[inline(always)]
fn even<const BITS: u32>(i: &[i32; 8]) -> [i32; 4] {
    let z1 = mul(add(i[2], i[6]), 4433);
    let (t2, t3) = (add(z1, mul(i[6], -15137)), add(z1, mul(i[2], 6270)));
    let (t0, t1) = (add(i[0], i[4]) << BITS, i[0].wrapping_sub(i[4]) << BITS);
    [add(t0, t3), add(t1, t2), t1.wrapping_sub(t2), t0.wrapping_sub(t3)]
}

#[inline(always)]
fn odd(i: &[i32; 8]) -> [i32; 4] {
    let (t0, t1, t2, t3) = (i[7], i[5], i[3], i[1]);
    let (z1, z2, z3, z4) = (add(t0, t3), add(t1, t2), add(t0, t2), add(t1, t3));
    let z5 = mul(add(z3, z4), 9633);
    let (z1, z2) = (mul(z1, -7373), mul(z2, -20995));
    let (z3, z4) = (add(mul(z3, -16069), z5), add(mul(z4, -3196), z5));
    [
        add(mul(t3, 12299), add(z1, z4)),
        add(mul(t2, 25172), add(z2, z3)),
        add(mul(t1, 16819), add(z2, z4)),
        add(mul(t0, 2446), add(z1, z3)),
    ]
}

#[inline(always)]
fn butterfly<const SHIFT: u32>(even: [i32; 4], odd: [i32; 4]) -> [i32; 8] {
    let round = 1 << (SHIFT - 1);
    std::array::from_fn(|y| {
        let value = if y < 4 { add(even[y], odd[y]) } else { even[7 - y].wrapping_sub(odd[7 - y]) };
        add(value, round) >> SHIFT
    })
}
