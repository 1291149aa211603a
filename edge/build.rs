//! Says which targets have the packed 16-bit instructions that `native::kernels::dsp` uses, and which 32-bit ones
//! fused multiply-adds: stable Rust does not.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(dsp_instructions)");
    let target = std::env::var("TARGET").unwrap_or_default();
    // Cortex-M4 and M7, and ARMv7-A in Thumb.
    if ["thumbv7em-", "thumbv7a-", "thumbv7neon-"].iter().any(|prefix| target.starts_with(prefix)) {
        println!("cargo::rustc-cfg=dsp_instructions");
    }
    // With a floating-point unit, which on these targets is VFPv4 or FPv4-SP at least.
    println!("cargo::rustc-check-cfg=cfg(fused_instructions)");
    if ["thumbv7em-none-eabihf", "thumbv7neon-", "thumbv8m.main-none-eabihf"]
        .iter()
        .any(|start| target.starts_with(start))
    {
        println!("cargo::rustc-cfg=fused_instructions");
    }
}
