//! The seccomp filter: which calls become notifications. A transport that stops at every call runs the same program
//! itself ([`decide`]), so that the two cannot drift.
//!
//! One linear classic-BPF program. Calls that never notify are answered by the kernel's bitmap cache, so
//! their cost does not depend on the length. Denied: `io_uring_setup` (ENOSYS, programs fall back) and
//! `open_by_handle_at` (EPERM): both would escape observation.

use crate::arch::{self, Looks};
use crate::sys::launch::SEND_FLAGS;
use crate::sys::seccomp::Instruction;

const LD_ABS: u16 = 0x20;
const JEQ: u16 = 0x15;
const JGE: u16 = 0x35;
const JGT: u16 = 0x25;
const JSET: u16 = 0x45;
const JA: u16 = 0x05;
const RET: u16 = 0x06;

const ALLOW: u32 = 0x7fff_0000;
const NOTIFY: u32 = 0x7fc0_0000;
const ERRNO: u32 = 0x0005_0000;

const OFFSET_NR: u32 = 0;
const OFFSET_ARCH: u32 = 4;
/// Low half of argument `i` in `struct seccomp_data` (little endian).
const fn offset_arg(i: u8) -> u32 {
    16 + 8 * i as u32
}

fn stmt(code: u16, k: u32) -> Instruction {
    Instruction { code, jt: 0, jf: 0, k }
}

fn jump(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}

/// How many descriptors can be watched.
pub(crate) const MOST_WATCHED: usize = 8;

/// What is notified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Calls {
    /// Every call of the table.
    All,
    /// The gate's: what only looks is somebody else's to report (see [`Looks`]).
    Gate,
}

/// Builds the filter. Every use of the descriptors `watched` is notified.
pub(crate) fn build(watched: &[i32], calls: Calls) -> Vec<Instruction> {
    let watched = &watched[..watched.len().min(MOST_WATCHED)];
    let mut v =
        vec![stmt(LD_ABS, OFFSET_ARCH), jump(JEQ, arch::AUDIT_ARCH, 1, 0), stmt(RET, NOTIFY), stmt(LD_ABS, OFFSET_NR)];
    let watched: Vec<u32> = watched.iter().map(|fd| fd.cast_unsigned()).collect();
    for (nr, arg) in arch::DESCRIPTOR_USERS.iter().filter(|_| !watched.is_empty()) {
        v.extend(notify_one_of(*nr, *arg, &watched));
    }
    v.extend(notify_one_of(
        arch::IOCTL,
        1,
        &[arch::TERMINAL_SETTERS, arch::TERMINAL_OWNERS, &[arch::TIOCGPGRP]].concat(),
    ));
    for nr in arch::READERS {
        v.extend(notify_one_of(*nr, 0, &[1, 2]));
    }
    v.extend(notify_one_of(arch::RT_SIGACTION, 0, &[libc::SIGCHLD.cast_unsigned()]));
    for nr in arch::DUPLICATORS {
        // `<&1`, `<&2`: what is written to becomes what is read from.
        let of_output = notify_one_of(*nr, 0, &[1, 2]);
        let k = of_output.len() as u8;
        v.extend([jump(JEQ, nr.cast_unsigned(), 0, k + 5), stmt(LD_ABS, offset_arg(1)), jump(JEQ, 0, 2, 0)]);
        v.extend([stmt(LD_ABS, OFFSET_NR), stmt(JA, u32::from(k) + 1), stmt(LD_ABS, OFFSET_NR)]);
        v.extend(of_output);
    }
    let told_anyway = |nr| arch::TABLE.iter().any(|r| r.0 == nr && (calls == Calls::All || r.2.looks() != Looks::Yes));
    for (nr, arg) in arch::STDIN_READERS.iter().chain(arch::STDIN_ASKERS) {
        // With another descriptor it may be a call of the table, or there is nothing more to decide.
        let other = if told_anyway(*nr) { stmt(LD_ABS, OFFSET_NR) } else { stmt(RET, ALLOW) };
        v.extend([
            jump(JEQ, nr.cast_unsigned(), 0, 4),
            stmt(LD_ABS, offset_arg(*arg)),
            jump(JEQ, 0, 0, 1),
            stmt(RET, NOTIFY),
            other,
        ]);
    }
    // fcntl(0, F_DUPFD | F_DUPFD_CLOEXEC, …) makes a second name for standard input.
    v.extend([
        jump(JEQ, arch::FCNTL.cast_unsigned(), 0, 7),
        stmt(LD_ABS, offset_arg(0)),
        jump(JEQ, 0, 0, 4),
        stmt(LD_ABS, offset_arg(1)),
        jump(JEQ, libc::F_DUPFD.cast_unsigned(), 1, 0),
        jump(JEQ, libc::F_DUPFD_CLOEXEC.cast_unsigned(), 0, 1),
        stmt(RET, NOTIFY),
        stmt(RET, ALLOW),
    ]);
    // sendto without an address is an ordinary write on a connected socket.
    v.extend([
        jump(JEQ, arch::SENDTO.cast_unsigned(), 0, 4),
        stmt(LD_ABS, offset_arg(4)),
        jump(JEQ, 0, 1, 0),
        stmt(RET, NOTIFY),
        stmt(RET, ALLOW),
    ]);
    // sendmsg may carry an address, but the launcher must hand over the listener before anybody serves it.
    v.extend([
        jump(JEQ, arch::SENDMSG.cast_unsigned(), 0, 4),
        stmt(LD_ABS, offset_arg(2)),
        jump(JEQ, SEND_FLAGS.cast_unsigned(), 1, 0),
        stmt(RET, NOTIFY),
        stmt(RET, ALLOW),
    ]);
    for nr in [arch::EXECVE, arch::EXECVEAT, arch::EXIT, arch::EXIT_GROUP] {
        v.extend([jump(JEQ, nr.cast_unsigned(), 0, 1), stmt(RET, NOTIFY)]);
    }
    for (nr, _, shape) in arch::TABLE.iter().filter(|r| !matches!(r.0, arch::SENDTO | arch::SENDMSG)) {
        match if calls == Calls::All { Looks::No } else { shape.looks() } {
            Looks::No => v.extend([jump(JEQ, nr.cast_unsigned(), 0, 1), stmt(RET, NOTIFY)]),
            Looks::Yes => {}
            Looks::UnlessChanging(flags) => v.extend([
                jump(JEQ, nr.cast_unsigned(), 0, 4),
                stmt(LD_ABS, offset_arg(flags)),
                jump(JSET, tracer_ebpf::OPEN_CHANGES, 0, 1),
                stmt(RET, NOTIFY),
                stmt(RET, ALLOW),
            ]),
        }
    }
    for (nr, errno) in [(arch::IO_URING_SETUP, libc::ENOSYS), (arch::OPEN_BY_HANDLE_AT, libc::EPERM)] {
        v.extend([jump(JEQ, nr.cast_unsigned(), 0, 1), stmt(RET, ERRNO | errno.cast_unsigned())]);
    }
    v.extend([
        jump(JGE, arch::FOREIGN_ABI_BIT, 1, 0),
        jump(JGT, arch::HIGHEST_KNOWN, 0, 1),
        stmt(RET, NOTIFY),
        stmt(RET, ALLOW),
    ]);
    v
}

/// Notified if argument `arg` of call `nr` is one of these; else the program goes on behind it.
fn notify_one_of(nr: i32, arg: u8, values: &[u32]) -> Vec<Instruction> {
    let k = values.len() as u8;
    let mut v = vec![jump(JEQ, nr.cast_unsigned(), 0, k + 4), stmt(LD_ABS, offset_arg(arg))];
    v.extend((0..).zip(values).map(|(i, value)| jump(JEQ, *value, k + 1 - i, 0)));
    v.extend([stmt(LD_ABS, OFFSET_NR), stmt(JA, 1), stmt(RET, NOTIFY)]);
    v
}

/// What the filter says of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Allow,
    Notify,
    Fail(i32),
}

/// Runs the program as the kernel would, for a transport that stops at every call. `args` are the low halves.
pub(crate) fn decide(program: &[Instruction], nr: i32, arch: u32, args: [u32; 6]) -> Verdict {
    match run(program, nr, arch, args) {
        NOTIFY => Verdict::Notify,
        r if r & 0xffff_0000 == ERRNO => Verdict::Fail((r & 0xffff).cast_signed()),
        _ => Verdict::Allow,
    }
}

fn run(p: &[Instruction], nr: i32, arch: u32, args: [u32; 6]) -> u32 {
    let (mut pc, mut a) = (0usize, 0u32);
    loop {
        let i = p[pc];
        pc += 1;
        match i.code {
            LD_ABS => {
                a = match i.k {
                    OFFSET_NR => nr.cast_unsigned(),
                    OFFSET_ARCH => arch,
                    k => args[(k as usize - 16) / 8],
                }
            }
            JA => pc += i.k as usize,
            RET => return i.k,
            code => {
                let yes = match code {
                    JEQ => a == i.k,
                    JGE => a >= i.k,
                    JGT => a > i.k,
                    JSET => a & i.k != 0,
                    c => panic!("unknown instruction {c:#x}"),
                };
                pc += usize::from(if yes { i.jt } else { i.jf });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decides_as_the_design_says() {
        let cases = [
            (0, [0, 0, 0, 0, 0, 0], NOTIFY, "read of standard input"),
            (0, [3, 0, 0, 0, 0, 0], ALLOW, "read of another descriptor"),
            (0, [2, 0, 0, 0, 0, 0], NOTIFY, "read of standard error"),
            (19, [1, 0, 0, 0, 0, 0], NOTIFY, "readv of standard output"),
            (1, [1, 0, 0, 0, 0, 0], ALLOW, "write"),
            (5, [0, 0, 0, 0, 0, 0], NOTIFY, "fstat of standard input"),
            (5, [3, 0, 0, 0, 0, 0], ALLOW, "fstat of another descriptor"),
            (40, [1, 0, 0, 0, 0, 0], NOTIFY, "sendfile from standard input"),
            (40, [0, 5, 0, 0, 0, 0], ALLOW, "sendfile to descriptor 0"),
            (72, [0, 0, 10, 0, 0, 0], NOTIFY, "F_DUPFD of standard input"),
            (72, [0, 1030, 10, 0, 0, 0], NOTIFY, "F_DUPFD_CLOEXEC of standard input"),
            (72, [0, 1, 0, 0, 0, 0], ALLOW, "F_GETFD"),
            (16, [1, 0x5401, 0, 0, 0, 0], ALLOW, "TCGETS of standard output"),
            (16, [0, 0x5401, 0, 0, 0, 0], NOTIFY, "TCGETS of standard input"),
            (16, [1, 0x5402, 0, 0, 0, 0], NOTIFY, "TCSETS of standard output"),
            (16, [7, 0x402c_542d, 0, 0, 0, 0], NOTIFY, "TCSETSF2 of any descriptor"),
            (16, [2, 0x540f, 0, 0, 0, 0], NOTIFY, "TIOCGPGRP"),
            (16, [255, 0x5410, 0, 0, 0, 0], NOTIFY, "TIOCSPGRP"),
            (16, [1, 0x5413, 0, 0, 0, 0], ALLOW, "TIOCGWINSZ"),
            (13, [17, 0, 0, 0, 0, 0], NOTIFY, "sigaction of SIGCHLD"),
            (13, [14, 0, 0, 0, 0, 0], ALLOW, "sigaction of another signal"),
            (33, [2, 0, 0, 0, 0, 0], NOTIFY, "dup2(2, 0)"),
            (33, [2, 1, 0, 0, 0, 0], ALLOW, "dup2(2, 1)"),
            (33, [3, 0, 0, 0, 0, 0], ALLOW, "dup2(3, 0)"),
            (33, [0, 3, 0, 0, 0, 0], NOTIFY, "dup2 of standard input"),
            (292, [1, 0, 0, 0, 0, 0], NOTIFY, "dup3(1, 0)"),
            (72, [3, 0, 0, 0, 0, 0], ALLOW, "F_DUPFD of another descriptor"),
            (44, [3, 0, 0, 0, 0, 0], ALLOW, "send"),
            (44, [3, 0, 0, 0, 9, 0], NOTIFY, "sendto"),
            (257, [0; 6], NOTIFY, "openat"),
            (46, [0; 6], NOTIFY, "sendmsg"),
            (46, [0, 0, 0x5600, 0, 0, 0], ALLOW, "sendmsg of the launcher"),
            (59, [0; 6], NOTIFY, "execve"),
            (231, [0; 6], NOTIFY, "exit_group"),
            (425, [0; 6], ERRNO | 38, "io_uring_setup"),
            (304, [0; 6], ERRNO | 1, "open_by_handle_at"),
            (470, [0; 6], ALLOW, "the last known call"),
            (471, [0; 6], NOTIFY, "an unknown call"),
            (0x4000_0001, [0; 6], NOTIFY, "an x32 call"),
        ];
        for (nr, args, want, what) in cases {
            assert_eq!(run(&build(&[], Calls::All), nr, arch::AUDIT_ARCH, args), want, "{what}");
        }
        assert_eq!(run(&build(&[], Calls::All), 5, 0x4000_0003, [0; 6]), NOTIFY, "an i386 call");
    }

    #[test]
    fn the_gate_alone_does_not_ask_about_looks() {
        let p = build(&[], Calls::Gate);
        let open = |flags: i32| [0, 0, flags.cast_unsigned(), 0, 0, 0];
        for (nr, args, want, what) in [
            (4, [0; 6], ALLOW, "stat"),
            (262, [0; 6], NOTIFY, "newfstatat of standard input"),
            (262, [libc::AT_FDCWD.cast_unsigned(), 0, 0, 0, 0, 0], ALLOW, "newfstatat of a name"),
            (89, [0; 6], ALLOW, "readlink"),
            (63, [0; 6], ALLOW, "uname"),
            (257, open(libc::O_RDONLY | libc::O_CLOEXEC | libc::O_DIRECTORY), ALLOW, "openat to read"),
            (257, open(libc::O_PATH), ALLOW, "openat of a name"),
            (257, open(libc::O_WRONLY), NOTIFY, "openat to write"),
            (257, open(libc::O_CREAT), NOTIFY, "openat that creates"),
            (257, open(libc::O_TRUNC), NOTIFY, "openat that cuts"),
            (257, open(libc::O_TMPFILE | libc::O_RDWR), NOTIFY, "openat of a nameless file"),
            (2, [0, 1, 0, 0, 0, 0], NOTIFY, "open to write"),
            (437, [0; 6], NOTIFY, "openat2: its flags are in memory"),
            (217, [0; 6], NOTIFY, "getdents64"),
            (80, [0; 6], NOTIFY, "chdir"),
            (87, [0; 6], NOTIFY, "unlink"),
            (59, [0; 6], NOTIFY, "execve"),
        ] {
            assert_eq!(run(&p, nr, arch::AUDIT_ARCH, args), want, "{what}");
        }
    }

    #[test]
    fn watched_descriptors_are_notified() {
        let p = build(&[3, 7], Calls::All);
        for (nr, args, want) in [
            (1, [3, 0, 0, 0, 0, 0], NOTIFY),
            (1, [7, 0, 0, 0, 0, 0], NOTIFY),
            (1, [4, 0, 0, 0, 0, 0], ALLOW),
            (0, [7, 0, 0, 0, 0, 0], NOTIFY),
            (0, [0; 6], NOTIFY),
            (33, [3, 1, 0, 0, 0, 0], NOTIFY),
            (33, [5, 3, 0, 0, 0, 0], ALLOW),
            (275, [9, 0, 3, 0, 0, 0], NOTIFY),
            (40, [3, 9, 0, 0, 0, 0], NOTIFY),
            (257, [3, 0, 0, 0, 0, 0], NOTIFY),
            (3, [3, 0, 0, 0, 0, 0], ALLOW),
        ] {
            assert_eq!(run(&p, nr, arch::AUDIT_ARCH, args), want, "{nr} {args:?}");
        }
    }

    #[test]
    fn fits_the_kernel() {
        assert!(build(&[3; MOST_WATCHED], Calls::All).len() < 4096, "BPF_MAXINSNS");
    }
}
