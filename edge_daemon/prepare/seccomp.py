"""The seccomp profile: deny by default, native architecture only, no way to a new namespace.

What is not named fails with ENOSYS, so that a C library falls back from a call that is newer than this list;
what is known and dangerous fails with EPERM. Names that the running libseccomp does not know for its architecture
are skipped by runc and crun, so one list serves amd64, arm64, arm and 386.
"""

from __future__ import annotations

from typing import Any

from edge_daemon.prepare.errors import SealError

EPERM, ENOSYS = 1, 38
NAMESPACE_FLAGS = 0x7E020000  # CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}
AF_VSOCK = 40


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


ARCHITECTURES = {
    "linux/amd64": "SCMP_ARCH_X86_64",
    "linux/arm64": "SCMP_ARCH_AARCH64",
    "linux/arm/v7": "SCMP_ARCH_ARM",
    "linux/arm/v6": "SCMP_ARCH_ARM",
    "linux/386": "SCMP_ARCH_X86",
    "linux/riscv64": "SCMP_ARCH_RISCV64",
}

ALLOWED = _names("""
_llseek _newselect accept accept4 access adjtimex alarm arch_prctl arm_fadvise64_64 arm_sync_file_range bind
breakpoint brk cacheflush cachestat capget capset chdir chmod chown chown32 clock_adjtime clock_adjtime64 clock_getres
clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64 close close_range connect
copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2
epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64 fadvise64_64
fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr
flistxattr flock fork fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64
futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake futimesat get_mempolicy get_robust_list
get_thread_area getcpu getcwd getdents getdents64 getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups
getgroups32 getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid getresgid32 getresuid
getresuid32 getrlimit getrusage getsid getsockname getsockopt gettid gettimeofday getuid getuid32 getxattr
inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents
io_pgetevents_time64 io_setup io_submit ioctl ioprio_get ioprio_set ipc kill landlock_add_rule landlock_create_ruleset
landlock_restrict_self lchown lchown32 lgetxattr link linkat listen listxattr llistxattr lremovexattr lseek lsetxattr
lstat lstat64 madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock
mlock2 mlockall mmap mmap2 modify_ldt mprotect mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64
mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock munlockall munmap
name_to_handle_at nanosleep newfstatat open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc
pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_mrelease pselect6
pselect6_time64 pwrite64 pwritev pwritev2 read readahead readdir readlink readlinkat readv recv recvfrom recvmmsg
recvmmsg_time64 recvmsg remap_file_pages removexattr rename renameat renameat2 restart_syscall riscv_flush_icache
riscv_hwprobe rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min
sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64
sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop
semtimedop semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto set_robust_list set_thread_area
set_tid_address set_tls setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setitimer
setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit
setsid setsockopt setuid setuid32 setxattr shmat shmctl shmdt shmget shutdown sigaction sigaltstack signal signalfd
signalfd4 sigpending sigprocmask sigreturn sigsuspend socketcall socketpair splice stat stat64 statfs statfs64 statx
symlink symlinkat sync sync_file_range sync_file_range2 syncfs sysinfo tee tgkill time timer_create timer_delete
timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime
timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask uname unlink
unlinkat utime utimensat utimensat_time64 utimes vfork wait4 waitid waitpid write writev
""")

DENIED = _names("""
acct add_key bdflush bpf chroot clock_settime clock_settime64 delete_module fanotify_init finit_module fsconfig
fsmount fsopen fspick init_module io_uring_enter io_uring_register io_uring_setup ioperm iopl kcmp kexec_file_load
kexec_load keyctl lookup_dcookie mbind migrate_pages mount mount_setattr move_mount move_pages nfsservctl
open_by_handle_at open_tree perf_event_open pidfd_getfd pivot_root process_madvise process_vm_readv process_vm_writev
ptrace query_module quotactl quotactl_fd reboot request_key set_mempolicy setdomainname sethostname setns settimeofday
stime swapoff swapon syslog umount umount2 unshare uselib userfaultfd ustat vhangup vm86 vm86old vmsplice
""")

BY_CAPABILITY = {
    "CAP_SYS_CHROOT": ("chroot",),
    "CAP_SYS_NICE": ("mbind", "set_mempolicy", "migrate_pages", "move_pages"),
    "CAP_SYS_PTRACE": ("ptrace", "kcmp", "process_madvise", "process_vm_readv", "process_vm_writev", "pidfd_getfd"),
    "CAP_SYSLOG": ("syslog",),
}
"""Calls that come back with a granted capability; none brings back namespaces, mounts, key rings, bpf or io_uring."""

PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)  # PER_LINUX, PER_LINUX32, UNAME26, both, ask


def profile(platform: str, capabilities: tuple[str, ...] = ()) -> dict[str, Any]:
    """The `linux.seccomp` of an OCI configuration for one platform."""
    architecture = ARCHITECTURES.get(platform)
    if architecture is None:
        raise SealError("no seccomp profile is known for this platform", element=platform)
    granted = tuple(sorted({call for cap in capabilities for call in BY_CAPABILITY.get(cap, ())}))
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": ENOSYS,
        "architectures": [architecture],
        "syscalls": [
            {"names": [*ALLOWED, *granted], "action": "SCMP_ACT_ALLOW"},
            {
                "names": [call for call in DENIED if call not in granted],
                "action": "SCMP_ACT_ERRNO",
                "errnoRet": EPERM,
            },
            # clone3 hides its flags in memory where a filter cannot look: ENOSYS sends a C library back to clone.
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS},
            _when("clone", 0, NAMESPACE_FLAGS, "SCMP_CMP_MASKED_EQ", 0),
            _when("socket", 0, AF_VSOCK, "SCMP_CMP_NE"),
            *(_when("personality", 0, kind, "SCMP_CMP_EQ") for kind in PERSONALITIES),
        ],
    }


def _when(name: str, index: int, value: int, op: str, value_two: int = 0) -> dict[str, Any]:
    argument = {"index": index, "value": value, "valueTwo": value_two, "op": op}
    return {"names": [name], "action": "SCMP_ACT_ALLOW", "args": [argument]}
