// From the firmware's jump to `start` in Rust: one core, exception level 1, two stacks, memory protection and caches.

.section .text.boot, "ax"
.global _start
_start:
    b       begin               // The header of a 64-bit Linux image: firmware and QEMU read from it where to load.
    .long   0
    .quad   0x80000             // offset from the start of memory
    .quad   __size              // of the image with its stacks and buffers
    .quad   2                   // little-endian, pages of 4 KiB
    .quad   0, 0, 0
    .ascii  "ARM\x64"
    .long   0

begin:
    msr     daifset, #0xf
    mrs     x0, mpidr_el1
    and     x0, x0, #0xff
    cbnz    x0, park            // The other cores have nothing to do.
    adr     x0, _start
    ldr     x1, =_start
    cmp     x0, x1
    b.ne    park                // Loaded elsewhere (config.txt): nothing can be said yet.
    mrs     x0, currentel
    cmp     x0, #(2 << 2)
    b.eq    from_el2
    cmp     x0, #(1 << 2)
    b.eq    at_el1
park:
    wfe
    b       park

from_el2:
    mov     x0, #(1 << 31)      // HCR_EL2.RW: level 1 is 64-bit; nothing is trapped
    msr     hcr_el2, x0
    msr     hstr_el2, xzr
    mov     x0, #0x33ff         // CPTR_EL2: nothing is trapped; the rest reads as one
    msr     cptr_el2, x0
    mov     x0, #3              // CNTHCTL_EL2: level 1 may read the counter and use the timer
    msr     cnthctl_el2, x0
    msr     cntvoff_el2, xzr
    mrs     x0, midr_el1        // What level 1 sees of these two.
    msr     vpidr_el2, x0
    mrs     x0, mpidr_el1
    msr     vmpidr_el2, x0
    ldr     x0, =0x30d00800     // SCTLR_EL1: only what reads as one; MMU and caches off
    msr     sctlr_el1, x0
    mov     x0, #0x3c4          // SPSR_EL2: to level 1 with SP_EL0, all interrupts masked
    msr     spsr_el2, x0
    adr     x0, at_el1
    msr     elr_el2, x0
    eret

at_el1:
    // The program runs on SP_EL0 and exceptions on SP_EL1, so that an overflow of the former can be reported.
    msr     spsel, #1
    ldr     x0, =__exception_stack_end
    mov     sp, x0
    msr     spsel, #0
    ldr     x0, =__stack_end
    mov     sp, x0
    ldr     x0, =vectors
    msr     vbar_el1, x0
    mov     x0, #(3 << 20)      // CPACR_EL1.FPEN: floating point and SIMD
    msr     cpacr_el1, x0
    isb

    // What caches may hold of the memory that is written before they are on is stale.
    ldr     x0, =__early_start
    ldr     x1, =__early_end
1:  dc      ivac, x0
    add     x0, x0, #64
    cmp     x0, x1
    b.lo    1b
    dsb     sy

    mrs     x0, midr_el1
    bl      enable_mmu

    ldr     x0, =__bss_start
    ldr     x1, =__bss_end
2:  stp     xzr, xzr, [x0], #16
    cmp     x0, x1
    b.lo    2b
    bl      start
    b       park

// ---- exceptions

.macro fatal kind
    .balign 128
    mov     x0, #\kind
    b       fatal
.endm

.balign 2048
vectors:
    fatal   0                   // From the program, on SP_EL0: synchronous,
    .balign 128
    b       irq                 // interrupt,
    fatal   2                   // fast interrupt,
    fatal   3                   // system error.
    fatal   4                   // The same while an exception is handled, on SP_EL1,
    fatal   5
    fatal   6
    fatal   7
    fatal   8                   // from 64-bit level 0,
    fatal   9
    fatal   10
    fatal   11
    fatal   12                  // and from 32-bit level 0, which nobody enters.
    fatal   13
    fatal   14
    fatal   15

fatal:
    mrs     x1, esr_el1
    mrs     x2, elr_el1
    mrs     x3, far_el1
    mov     x4, x30
    bl      exception
    b       park

// All registers that a Rust function may change, and those of SIMD whole: only the lower halves of v8-v15 are kept by it.
irq:
    sub     sp, sp, #720
    stp     x0, x1, [sp]
    stp     x2, x3, [sp, #16]
    stp     x4, x5, [sp, #32]
    stp     x6, x7, [sp, #48]
    stp     x8, x9, [sp, #64]
    stp     x10, x11, [sp, #80]
    stp     x12, x13, [sp, #96]
    stp     x14, x15, [sp, #112]
    stp     x16, x17, [sp, #128]
    stp     x18, x29, [sp, #144]
    mrs     x0, elr_el1
    mrs     x1, spsr_el1
    stp     x30, x0, [sp, #160]
    mrs     x2, fpcr
    mrs     x3, fpsr
    stp     x1, x2, [sp, #176]
    str     x3, [sp, #192]
    add     x0, sp, #208
    stp     q0, q1, [x0]
    stp     q2, q3, [x0, #32]
    stp     q4, q5, [x0, #64]
    stp     q6, q7, [x0, #96]
    stp     q8, q9, [x0, #128]
    stp     q10, q11, [x0, #160]
    stp     q12, q13, [x0, #192]
    stp     q14, q15, [x0, #224]
    stp     q16, q17, [x0, #256]
    stp     q18, q19, [x0, #288]
    stp     q20, q21, [x0, #320]
    stp     q22, q23, [x0, #352]
    stp     q24, q25, [x0, #384]
    stp     q26, q27, [x0, #416]
    stp     q28, q29, [x0, #448]
    stp     q30, q31, [x0, #480]
    bl      interrupt
    add     x0, sp, #208
    ldp     q0, q1, [x0]
    ldp     q2, q3, [x0, #32]
    ldp     q4, q5, [x0, #64]
    ldp     q6, q7, [x0, #96]
    ldp     q8, q9, [x0, #128]
    ldp     q10, q11, [x0, #160]
    ldp     q12, q13, [x0, #192]
    ldp     q14, q15, [x0, #224]
    ldp     q16, q17, [x0, #256]
    ldp     q18, q19, [x0, #288]
    ldp     q20, q21, [x0, #320]
    ldp     q22, q23, [x0, #352]
    ldp     q24, q25, [x0, #384]
    ldp     q26, q27, [x0, #416]
    ldp     q28, q29, [x0, #448]
    ldp     q30, q31, [x0, #480]
    ldr     x3, [sp, #192]
    ldp     x1, x2, [sp, #176]
    ldp     x30, x0, [sp, #160]
    msr     fpsr, x3
    msr     fpcr, x2
    msr     spsr_el1, x1
    msr     elr_el1, x0
    ldp     x18, x29, [sp, #144]
    ldp     x16, x17, [sp, #128]
    ldp     x14, x15, [sp, #112]
    ldp     x12, x13, [sp, #96]
    ldp     x10, x11, [sp, #80]
    ldp     x8, x9, [sp, #64]
    ldp     x6, x7, [sp, #48]
    ldp     x4, x5, [sp, #32]
    ldp     x2, x3, [sp, #16]
    ldp     x0, x1, [sp]
    add     sp, sp, #720
    eret
