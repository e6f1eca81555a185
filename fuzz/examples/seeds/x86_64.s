// Seeds of the x86_64 target, one below each "//=" line: its name, its flags
// (1 no SSE, 2 interrupts on, 4 FSGSBASE, 8 user level) and patches (number of
// the register in hexadecimal, value). Each 16 bytes are a slot. rcx, rbp, r9,
// r13 point into memory, rdx, rsi, r10, r14 into its alias by pages, rbx, rdi,
// r11, r15 to devices.
//= loop 0
mov eax, 50
1: add [rcx], rax
adc r8, [rcx+rax*8]
dec eax
jnz 1b
//= integer 8
lea rax, [rcx+r9*4+0x12]
imul r8, rax, 77
mul r9
div r12d
idiv r8b
shld rax, r8, 5
rcr r8d, cl
sar byte ptr [rcx], 3
bt [rcx], r8
bts qword ptr [rcx], 63
bsf rax, r8
popcnt rax, r8
bswap eax
cmpxchg [rcx], r8
cmpxchg16b [rcx]
xadd [rcx], r8d
movsx rax, byte ptr [rcx]
setg al
cmovle rax, r8
cqo
//= locked 0
lock add qword ptr [rcx], 5
lock cmpxchg [rcx], r8
lock xadd [rcx], r8
lock bts dword ptr [rcx], 3
lock cmpxchg16b [r9]
xchg [rcx], r8
.byte 0xf0,0x90
//= stack 0
push rax
push 0x1234
pop r8
pushfq
popfq
enter 16, 2
leave
call 1f
ret 8
1: ret
push [rcx]
pop [rcx+8]
push fs
pop gs
//= strings 0 6:20100 7:20800 1:40
rep movsb
std
rep stosq
cld
repne scasb
repe cmpsw
lodsd
rep movsq
rep insb
rep outsd
//= strings_into_devices 0 1:10
rep stosd
rep movsb
rep lodsb
//= strings_across_pages 0 1:3000 7:200ff8 6:201001
rep movsb
rep stosw
//= branches 0
jmp 1f
nop
1: jmp rax
call [rcx]
loop 1b
jrcxz 1b
jmp qword ptr [rip+2]
ud2
//= far 0
push 0x10
lea rax, [rip+3]
push rax
retfq
nop
push 0x20
push 0x1000
retfq
jmp fword ptr [rcx]
//= interrupts_return 0
push 0x2b
push 0x38000
push 0x202
push 0x33
push 0x10020
iretq
nop
int3
int 0x80
.byte 0xf1
iretq
//= syscall 8 39:10020 3a:230010
syscall
nop
sysretq
sysenter
syscall
//= sysret 0 3a:2300100000000000
mov rcx, 0x10020
mov r11, 0x202
sysretq
nop
swapgs
//= control_registers 0
mov rax, cr0
mov cr0, rax
mov rax, cr3
mov cr3, rax
mov rax, cr4
or rax, 0x10000
mov cr4, rax
mov cr2, rdx
mov rax, cr8
mov cr8, rax
clts
lmsw ax
smsw ax
mov dr7, rax
mov rax, dr6
//= paging_off_faults 0
mov rax, cr0
btr rax, 31
mov cr0, rax
nop
mov rax, cr4
btr rax, 5
mov cr4, rax
nop
mov rax, 0x800000000000
mov [rax], rax
mov [rdx], rax
//= change_tables 0
mov rax, 0x4000
mov qword ptr [rax+0x100], 0
invlpg [rdx]
mov r8, [rdx]
mov r9, cr3
mov cr3, r9
wbinvd
//= table_in_nowhere 0 2f:ffffffff000
nop
mov rax, [rdx]
//= user_pages 8
mov rax, [rdx]
mov [rsi], rax
jmp rdx
mov rax, [rbx]
in al, dx
cli
hlt
rdmsr
mov cr3, rax
//= msrs 0
mov ecx, 0x1b
rdmsr
mov ecx, 0xc0000080
rdmsr
wrmsr
mov ecx, 0x10
rdmsr
mov ecx, 0x277
wrmsr
mov ecx, 0xc0000102
wrmsr
rdtsc
rdtscp
mov ecx, 0x6e0
wrmsr
//= apic 2
mov eax, 0xfee00000
mov dword ptr [rax+0xf0], 0x1ff
mov dword ptr [rax+0x320], 0x20040
mov dword ptr [rax+0x3e0], 11
mov dword ptr [rax+0x380], 10
mov r8d, [rax+0x390]
mov dword ptr [rax+0x300], 0x40055
hlt
mov dword ptr [rax+0xb0], 0
sti
hlt
//= x2apic 2
mov ecx, 0x1b
mov eax, 0xfee00d00
xor edx, edx
wrmsr
mov ecx, 0x802
rdmsr
mov ecx, 0x83f
mov eax, 0x33
wrmsr
mov ecx, 0x80b
xor eax, eax
wrmsr
//= ports 0
in al, 0x70
out 0x71, al
mov dx, 0xcf8
in eax, dx
out dx, ax
//= descriptors 0
sgdt [rcx]
lgdt [rcx]
sidt [rcx]
lidt [rcx]
mov ax, 0x38
ltr ax
mov ax, 0x18
lldt ax
lar rax, rcx
lsl rax, rcx
verr ax
verw [rcx]
str ax
mov ds, ax
mov ss, ax
mov fs, ax
//= segments 4 35:7fffffff0000 36:20000
mov rax, fs:[rcx]
mov gs:[rcx], rax
rdfsbase rax
wrgsbase rax
swapgs
mov rax, gs:[rcx]
//= noncanonical_stack 0 4:8000000000000000
push rax
pop rax
call 1f
1: mov rax, [rsp+8]
enter 8, 0
ret
//= single_step 0 2d:100
nop
mov eax, 1
pushfq
popfq
int3
//= breakpoints 0 3d:401 3e:10004
nop
nop
nop
//= self_modifying 0
lea rax, [rip+9]
mov byte ptr [rax], 0x90
nop
1: jmp 2f
2: mov word ptr [rip-2], 0x9090
jmp 1b
//= sse 0 10:3ff000003ff00000 11:7ff0000000000001 12:1
addps xmm0, xmm1
mulsd xmm0, xmm2
divpd xmm0, xmm1
sqrtss xmm3, xmm0
minps xmm0, xmm1
cmppd xmm0, xmm1, 3
ucomisd xmm0, xmm1
cvttsd2si rax, xmm0
cvtsi2ss xmm0, rax
cvtdq2pd xmm0, xmm1
shufps xmm0, xmm1, 0x1b
movmskps eax, xmm0
//= sse_integer 8
paddb xmm0, xmm1
pmaddwd xmm0, xmm1
psadbw xmm0, xmm1
pshufd xmm0, xmm1, 0x4e
psrldq xmm0, 5
psllq xmm0, xmm1
packuswb xmm0, xmm1
punpckhwd xmm0, [rcx]
pmovmskb eax, xmm0
movntdq [rcx], xmm0
maskmovdqu xmm0, xmm1
pextrw eax, xmm0, 3
movdqa xmm0, [rcx+1]
movdqu xmm0, [rcx+1]
//= sse_more 0
pshufb xmm0, xmm1
palignr xmm0, xmm1, 3
phaddw xmm0, xmm1
pmulhrsw xmm0, xmm1
pblendvb xmm0, xmm1
roundpd xmm0, xmm1, 3
dpps xmm0, xmm1, 0x71
mpsadbw xmm0, xmm1, 3
insertps xmm0, xmm1, 0x1c
pcmpestri xmm0, xmm1, 0x1a
pcmpistrm xmm0, xmm1, 0x4c
crc32 rax, rcx
ptest xmm0, xmm1
haddpd xmm0, xmm1
lddqu xmm0, [rcx]
//= sse_exceptions 0 28:0
divps xmm0, xmm1
sqrtpd xmm0, xmm1
ldmxcsr [rcx]
stmxcsr [rcx]
addss xmm0, xmm1
//= no_sse 1
addps xmm0, xmm1
movaps [rcx], xmm0
//= x87 0
fld1
fldpi
fadd st(0), st(1)
fmulp st(1), st(0)
fsqrt
fld tbyte ptr [rcx]
fstp qword ptr [rcx]
fild qword ptr [rcx]
fistp word ptr [rcx]
fbld tbyte ptr [rcx]
fbstp tbyte ptr [rcx]
fsin
fptan
fyl2x
f2xm1
fscale
fprem1
fxtract
fcomi st(0), st(1)
fcmovb st(0), st(1)
fnstcw [rcx]
fldcw [rcx]
fnstsw ax
fnclex
fninit
//= x87_exceptions 0 29:0 2a:80
fld1
fdiv st(0), st(1)
fwait
fnstenv [rcx]
fldenv [rcx]
fnsave [rcx]
frstor [rcx]
ffree st(3)
fincstp
//= mmx 0
movq mm0, [rcx]
paddw mm0, mm1
pmulhuw mm0, mm1
cvtpi2ps xmm0, mm1
movntq [rcx], mm0
emms
//= save_restore 0
fxsave [rcx+15]
fxrstor [rcx+15]
fxsave64 [rbp+48]
fxrstor64 [rbp+48]
xgetbv
xsave [rcx]
//= cpuid 8
mov eax, 7
cpuid
mov eax, 0x80000008
cpuid
rdrand rax
rdseed eax
pause
endbr64
clflush [rcx]
mfence
prefetcht0 [rcx]
//= odd_encodings 0
.byte 0x66,0x66,0x66,0x2e,0x48,0x0f,0x1f,0x84,0,0,0,0,0,0x90,0x90
.byte 0xf3,0x0f,0xb8,0xc1, 0xf2,0x0f,0x38,0xf0,0xc1, 0x67,0x8b,0x03
.byte 0x48,0x66,0x90, 0x0f,0x0d,0x08, 0xf3,0x90, 0x0f,0xff,0xc0
.byte 0xc5,0xf8,0x77, 0x62,0xf1,0x7c,0x48,0x58,0xc1, 0x0f,0x0b
