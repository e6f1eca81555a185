// Seeds of the aarch64 target, one below each "//=" line: its name, its flags
// (1 no FP, 2 MMU on, 4 interrupts masked, 8 EL0, 16 strict alignment) and
// patches (number of the register in hexadecimal, value). Each 16 bytes are a
// slot. x1, x5 .. point into memory, x2, x6 .. into its alias by pages, x3,
// x7 .. to devices.
//= loop 0
mov x0, #50
1: ldr x9, [x1]
add x9, x9, x0
str x9, [x1], #8
subs x0, x0, #1
b.ne 1b
//= loads_and_stores 8
ldp x10, x11, [x1, #16]
stp x10, x11, [x5, #-16]!
ldrsw x12, [x1, #4]
ldrb w13, [x1, #3]
strh w13, [x1, #2]
ldr q0, [x1]
str q0, [x5, #32]
ldur x14, [x1, #1]
stur w14, [x1, #-3]
prfm pldl1keep, [x1]
//= exclusive 0
1: ldaxr x9, [x1]
add x9, x9, #1
stlxr w10, x9, [x1]
cbnz w10, 1b
ldxp x11, x12, [x1]
stxp w13, x12, x11, [x1]
clrex
ldar w9, [x1]
stlr w9, [x1]
//= lse 0
.arch armv8.1-a
ldadd x9, x10, [x1]
swpal x9, x10, [x1]
casal x9, x10, [x1]
casp x8, x9, x10, x11, [x1]
ldset w9, w10, [x1]
ldsmax x9, x10, [x1]
staddb w9, [x1]
//= data_processing 8
madd x9, x10, x11, x12
udiv x9, x10, x11
sdiv w9, w10, w11
umulh x9, x10, x11
rbit x9, x10
clz w9, w10
extr x9, x10, x11, #13
ubfm x9, x10, #4, #60
bfm w9, w10, #3, #1
csinc x9, x10, x11, lt
ccmp x9, #3, #5, ne
adcs x9, x10, x11
adds x9, x10, w11, sxtb #3
crc32cx w9, w10, x11
//= branches 0
bl 2f
tbz x0, #3, 3f
cbnz x0, 3f
adr x9, 2f
br x9
2: ret
3: blr x30
b .
//= system_registers 0
mrs x9, midr_el1
mrs x9, id_aa64isar0_el1
mrs x10, ctr_el0
mrs x11, cntvct_el0
msr tpidr_el0, x9
mrs x9, currentel
msr daifset, #2
msr daifclr, #15
mrs x12, nzcv
msr nzcv, x12
msr spsel, #0
msr spsel, #1
mrs x9, sctlr_el1
msr contextidr_el1, x9
//= translation_on 0
mrs x9, sctlr_el1
orr x9, x9, #1
msr sctlr_el1, x9
isb
ldr x10, [x2]
str x10, [x6]
ldr x11, [x3]
at s1e1r, x2
mrs x12, par_el1
at s1e0w, x6
//= change_tables 2
mov x9, #0x7000
mov x10, #0x403
str x10, [x9, #0x100]
dsb sy
tlbi vmalle1
dsb sy
isb
ldr x11, [x2]
tlbi vaae1, x9
tlbi aside1, x9
dc civac, x1
dc zva, x1
ic ivau, x1
//= exceptions 0
svc #0
brk #1
hvc #0
smc #0
.word 0
eret
hlt #0
dcps1
//= user_exceptions 10
svc #0
brk #1
ldr x9, [x2]
str x9, [x6, #8]
msr daifset, #2
mrs x9, sctlr_el1
blr x2
ldr x9, [x3]
//= eret_to_user 2 49:10000 48:0
mov x9, #0x3c0
msr spsr_el1, x9
adr x10, 1f
msr elr_el1, x10
eret
1: ldr x11, [x2]
svc #1
//= illegal_return 0
mov x9, #0xd
msr spsr_el1, x9
msr elr_el1, x1
eret
nop
mov x9, #0x10
msr spsr_el1, x9
eret
//= timers 0
mov x9, #1
msr cntv_tval_el0, x9
msr cntv_ctl_el0, x9
msr daifclr, #2
wfi
mrs x9, cntv_ctl_el0
msr cntp_cval_el0, x9
msr cntp_ctl_el0, x9
wfe
yield
//= single_step 0 4c:1 49:200000 48:10100
msr mdscr_el1, x9
mov x9, #1
msr mdscr_el1, x9
eret
nop
nop
//= breakpoints 0 52:10008 53:1e5 54:20010 55:1e5 4c:8000
nop
nop
nop
ldr x9, [x1]
str x9, [x1, #8]
//= self_modifying 0
adr x9, 1f
ldr w10, 2f
str w10, [x9]
1: nop
b 1b
2: mov x5, #7
//= float_scalar 0 20:3ff0000000000000 21:7ff0000000000001 22:1
fadd d0, d1, d2
fmul s0, s1, s2
fdiv d0, d1, d2
fsqrt d3, d0
fmadd d0, d1, d2, d3
fcvtzs x9, d0
ucvtf s1, x9
fcvt h1, d2
frintx d0, d1
fcmp d0, #0.0
fccmpe s0, s1, #3, ne
fcsel d0, d1, d2, gt
fmov x9, d0
fmov d1, #1.0
fminnm d0, d1, d2
//= float_modes 0 40:7c00000
fadd s0, s1, s2
fmul d0, d1, d2
fdiv h0, h1, h2
fsqrt s3, s0
fcvtas w9, s0
frecpe d0, d1
frsqrts s0, s1, s2
fmulx d0, d1, d2
mrs x9, fpsr
msr fpcr, x9
//= simd_integer 8
add v0.16b, v1.16b, v2.16b
sqadd v0.4s, v1.4s, v2.4s
umull v0.8h, v1.8b, v2.8b
addhn2 v0.8h, v1.4s, v2.4s
uzp1 v0.4s, v1.4s, v2.4s
tbl v0.16b, {v1.16b, v2.16b}, v3.16b
ext v0.16b, v1.16b, v2.16b, #5
sqrshrun v0.8b, v1.8h, #3
cmeq v0.2d, v1.2d, v2.2d
cnt v0.16b, v1.16b
addv b0, v1.16b
pmul v0.8b, v1.8b, v2.8b
dup v0.8h, w9
umov w9, v0.b[3]
movi v0.2d, #0xff00ff00ff00ff00
sqdmulh v0.8h, v1.8h, v2.h[3]
//= simd_float 0
fadd v0.4s, v1.4s, v2.4s
fmla v0.2d, v1.2d, v2.d[1]
fcvtzu v0.4s, v1.4s, #3
frsqrte v0.4s, v1.4s
fmaxnmv s0, v1.4s
fcvtxn v0.2s, v1.2d
fcvtl v0.4s, v1.4h
facge v0.4s, v1.4s, v2.4s
faddp d0, v1.2d
frecpx s0, s1
//= simd_memory 0
ld1 {v0.16b - v3.16b}, [x1]
st4 {v0.4s - v3.4s}, [x5], #64
ld3 {v0.b, v1.b, v2.b}[5], [x1]
ld2r {v0.8h, v1.8h}, [x1], x2
st2 {v0.d, v1.d}[1], [x1]
ldnp q0, q1, [x1]
//= fp_trapped 1
fmov d0, #1.0
ldr q0, [x1]
mov x9, #0x300000
msr cpacr_el1, x9
isb
fmov d0, #1.0
//= devices 2
ldr x9, [x3]
str w9, [x7, #4]
ldp x9, x10, [x3]
ldr q0, [x3]
ldrb w9, [x7, #1]
ldxr x9, [x3]
//= strict_devices 18
ldur x9, [x3, #1]
ldr x9, [x3]
stur w9, [x7, #3]
//= across_pages 2
add x9, x2, #0xffc
ldr x10, [x9]
ldur q0, [x9, #1]
stp x10, x11, [x9]
br x9
//= wild_registers 2 1:ffff800000020000 2:8000000000000000 3:ffffffffffffffff 1f:20003
ldr x9, [x1]
ldr x9, [x2]
ldr x9, [x3]
ldr x9, [sp]
br x3
//= reserved_tcr 2 45:ffffffffffffffff
isb
ldr x9, [x2]
//= table_in_nowhere 0 43:fffffffff000 44:3ffff000
mrs x9, sctlr_el1
orr x9, x9, #1
msr sctlr_el1, x9
isb
nop
//= big_endian_and_tags 2 45:6735100510 1:ff00000000020000
ldr x9, [x1]
mov x10, #0x0801
movk x10, #0x3ad0, lsl #16
msr sctlr_el1, x10
isb
ldr x9, [x1]
