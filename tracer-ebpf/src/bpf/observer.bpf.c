// SPDX-License-Identifier: MIT OR GPL-2.0
/* Reports what the tasks of a build look at: opens for reading, stats, links, facts. One record a call, emitted when it returns,
 * when its result is known and its path has been read by the kernel itself, so that it can be read again without faulting.
 *
 * A task is observed if the gate said so (TASKS); forks inherit it before they run. What changes files is the gate's alone.
 * Which calls are meant, and where their arguments are, the loader writes into CALLS: one table serves both.
 * Nothing here waits or decides; what finds no room in the ring is counted for its scope (LOST). */
#include "kernel.h"
#include "layout.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define PATH_MAX 4096
#define TEXT (4 * PATH_MAX)
#define NAME 256
#define DEPTH 128
#define LAST (1u << 31)
#define NOTHING LAST
#define TS_COMPAT 2
#define AT_FDCWD (-100)
#define SIGSTOP 19
#define S_IFMT 0170000
#define S_IFDIR 0040000

/* `text` has room for one more path than is ever used: that an offset is below TEXT is all that has to be proven. */
struct scratch {
	struct record r;
	u8 text[TEXT + PATH_MAX];
	/* The arguments, as CALL_* counts them: from one, and zero is none. */
	u64 arguments[8];
	/* Where a walk is, and where it ends. */
	struct place { struct dentry *dentry, *root, *top; struct vfsmount *vfs, *top_vfs; } at;
	/* The working directory, if it is in this record. */
	struct task sent;
};

struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 64 << 20); } EVENTS SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); __uint(max_entries, 1); __type(key, u32); __type(value, struct scratch); } SCRATCH SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_TASK_STORAGE); __uint(map_flags, BPF_F_NO_PREALLOC); __type(key, int); __type(value, struct task); } TASKS SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(map_flags, BPF_F_MMAPABLE); __uint(max_entries, 1); __type(key, u32); __type(value, struct state); } STATE SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 4096); __type(key, u32); __type(value, u64); } LOST SEC(".maps");
/* Processes that were stopped because the ring is nearly full; whoever reads it continues them. */
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 4096); __type(key, u32); __type(value, u32); } STOPPED SEC(".maps");

/* An offset below TEXT, in a way that the verifier cannot lose sight of; TEXT is a power of two. */
#define BELOW_TEXT(offset) ({ u64 at_ = (offset); asm volatile("%0 &= 0x3fff" : "+r"(at_)); at_; })

/* By call number: bits and shifts of CALL_*. */
const volatile u64 CALLS_BY_NUMBER[CALLS] = {};
const volatile u64 RING_SIZE = 64 << 20;
/* 0: what finds no room is lost at once. */
const volatile u64 WAITS = 1;

static inlined struct state *state(void)
{
	u32 zero = 0;
	return bpf_map_lookup_elem(&STATE, &zero);
}

static inlined void lose(struct task *t)
{
	struct state *all = state();
	if (all)
		__sync_fetch_and_add(&all->dropped, 1);
	u32 scope = t->scope;
	u64 one = 1, *n = bpf_map_lookup_elem(&LOST, &scope);
	if (n)
		__sync_fetch_and_add(n, 1);
	else if (bpf_map_update_elem(&LOST, &scope, &one, 0) && all)
		__sync_fetch_and_add(&all->unattributed, 1);
}

/* The id in the task's own pid namespace: a container's `xl` knows no other. */
static inlined u32 id_of(struct task_struct *task)
{
	struct pid *pid = READ(task, thread_pid);
	u32 level = READ(pid, level);
	int nr = 0;
	bpf_probe_read_kernel(&nr, sizeof nr, (void *)__builtin_preserve_access_index(&pid->numbers) + level * sizeof(struct upid));
	return nr;
}

static inlined struct scratch *scratch(void)
{
	u32 zero = 0;
	return bpf_map_lookup_elem(&SCRATCH, &zero);
}

noinline u32 begin(struct scratch *s, struct task *t, u32 kind, u32 number, i32 result)
{
	if (!s || !t)
		return 0;
	struct task_struct *task = bpf_get_current_task_btf();
	u32 tid = id_of(task);
	struct task_struct *leader = READ(task, group_leader);
	s->r = (struct record){
		.time = bpf_ktime_get_ns(), .scope = t->scope, .kind = kind, .tgid = leader == task ? tid : id_of(leader), .tid = tid,
		.execs = t->execs, .number = number, .result = result,
	};
	return 0;
}

/* Whoever fills the ring faster than it is read waits: there is no other way to wait in here than to be stopped. Who is in
 * STOPPED before the signal is sent, is counted after it: see the reader. */
static inlined void slow_down(struct scratch *s, u64 used)
{
	struct state *all = WAITS && used >= RING_SIZE / 4 * 3 ? state() : 0;
	if (!all)
		return;
	u32 tgid = s->r.tgid, one = 1;
	__sync_fetch_and_add(&all->stops, 1);
	if (!bpf_map_update_elem(&STOPPED, &tgid, &one, 0))
		bpf_send_signal_thread(SIGSTOP);
	__sync_fetch_and_add(&all->stopped, 1);
}

/* Whether the record went into the ring. The reader is woken early enough; before every decision it looks by itself. */
noinline u32 emit(struct scratch *s, struct task *t, u32 length)
{
	if (!s || !t)
		return 0;
	if (length > TEXT + PATH_MAX)
		length = TEXT + PATH_MAX;
	u64 used = bpf_ringbuf_query(&EVENTS, BPF_RB_AVAIL_DATA);
	u64 wake = used > RING_SIZE / 16 ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP;
	if (bpf_ringbuf_output(&EVENTS, s, sizeof s->r + length, wake) < 0) {
		lose(t);
		return 0;
	}
	slow_down(s, used);
	return 1;
}

/* One of the arguments. Without a branch, which the verifier would follow six times over. */
#define ARGUMENT(s, call, shift) ((s)->arguments[(call) >> (shift) & 7])

/* One name of a walk, or one mount point. A function of its own, which the verifier proves once; what it goes on with is in memory for
 * the same reason. In the loop of `walk` it was proven DEPTH times, in 25 ms (Linux 6.18). */
noinline u32 step(struct scratch *s, u32 offset)
{
	if (!s)
		return LAST;
	struct dentry *d = s->at.dentry;
	struct vfsmount *v = s->at.vfs;
	if (d == s->at.top && v == s->at.top_vfs)
		return offset | LAST;
	if (d == s->at.root) {
		struct mount *m = (void *)v - __builtin_preserve_field_info(((struct mount *)0)->mnt, 0 /* BYTE_OFFSET */);
		struct mount *parent = READ(m, mnt_parent);
		if (parent == m)
			return offset | LAST;
		v = (void *)parent + __builtin_preserve_field_info(((struct mount *)0)->mnt, 0);
		s->at.dentry = READ(m, mnt_mountpoint);
		s->at.vfs = v;
		s->at.root = READ(v, mnt_root);
		return offset;
	}
	struct dentry *parent = READ(d, d_parent);
	if (parent == d)
		return offset | LAST;
	if (offset > TEXT - 1) {
		s->r.marks |= MARK_LONG;
		return offset | LAST;
	}
	long n = bpf_probe_read_kernel_str(&s->text[BELOW_TEXT(offset)], NAME, READ(d, d_name.name));
	if (n > 0 && n <= NAME)
		offset += n;
	s->at.dentry = parent;
	return offset;
}

/* Appends the names from a dentry up to the task's root, leaf first. */
noinline u32 walk(struct scratch *s, u32 offset, u64 dentry, u64 mnt)
{
	if (!s)
		return offset;
	struct fs_struct *fs = READ(bpf_get_current_task_btf(), fs);
	s->at = (struct place){
		.dentry = (void *)dentry, .vfs = (void *)mnt, .root = READ((struct vfsmount *)mnt, mnt_root),
		.top = READ(fs, root.dentry), .top_vfs = READ(fs, root.mnt),
	};
	for (int i = 0; i < DEPTH; i++) {
		offset = step(s, offset);
		if (offset & LAST)
			return offset & ~LAST;
	}
	s->r.marks |= MARK_LONG;
	return offset;
}

/* Unhashed and no root: the name is gone. */
static inlined bool is_gone(struct dentry *d)
{
	return !READ(d, d_hash.pprev) && READ(d, d_parent) != d;
}

static inlined struct file *file_of(struct task_struct *task, u64 fd)
{
	struct files_struct *files = READ(task, files);
	struct fdtable *table = READ(files, fdt);
	if (fd >= READ(table, max_fds))
		return 0;
	struct file **all = READ(table, fd), *file = 0;
	bpf_probe_read_kernel(&file, sizeof file, all + fd);
	return file;
}

noinline u32 base_of_fd(struct scratch *s, u32 offset, u64 fd)
{
	if (!s)
		return offset;
	struct file *file = file_of(bpf_get_current_task_btf(), fd);
	struct inode *inode = file ? READ(file, f_inode) : 0;
	if (!inode || (READ(inode, i_mode) & S_IFMT) != S_IFDIR) {
		s->r.marks |= MARK_NO_BASE;
		return offset;
	}
	struct dentry *d = READ(file, f_path.dentry);
	if (is_gone(d))
		s->r.marks |= MARK_NO_BASE;
	return walk(s, offset, (u64)d, (u64)READ(file, f_path.mnt));
}

/* What an argument that names a descriptor stands for: pipes and the like have no path. */
noinline u32 target(struct scratch *s, u32 offset, u64 fd)
{
	if (!s)
		return offset;
	s->r.marks |= MARK_TARGET;
	struct file *file = file_of(bpf_get_current_task_btf(), fd);
	struct dentry *d = file ? READ(file, f_path.dentry) : 0;
	if (!d || is_gone(d) || READ(d, d_parent) == d) {
		s->r.marks |= MARK_TARGET_GONE;
		return offset;
	}
	return walk(s, offset, (u64)d, (u64)READ(file, f_path.mnt));
}

/* The number in `text` that ends in a zero byte or a slash, or -1. */
noinline i32 number_at(struct scratch *s, u32 at)
{
	i32 n = 0;
	for (int i = 0; s && i < 6; i++) {
		u8 c = s->text[BELOW_TEXT(at + i)];
		if (c == 0 || c == '/')
			return i ? n : -1;
		if (c < '0' || c > '9')
			return -1;
		n = n * 10 + c - '0';
	}
	return -1;
}

/* The descriptor that the path at the start of `text` names in one of the usual ways, or -1. */
noinline i32 named_descriptor(struct scratch *s)
{
	if (!s)
		return -1;
	u8 *p = s->text;
#define IS(i, c) (p[i] == (c))
	u32 at;
	if (!IS(0, '/'))
		return -1;
	if (IS(1, 'd') && IS(2, 'e') && IS(3, 'v') && IS(4, '/')) {
		if (IS(5, 's') && IS(6, 't') && IS(7, 'd'))
			return IS(8, 'i') ? 0 : IS(8, 'o') ? 1 : IS(8, 'e') ? 2 : -1;
		if (!IS(5, 'f') || !IS(6, 'd') || !IS(7, '/'))
			return -1;
		at = 8;
	} else if (IS(1, 'p') && IS(2, 'r') && IS(3, 'o') && IS(4, 'c') && IS(5, '/') && IS(6, 's') && IS(7, 'e') && IS(8, 'l') && IS(9, 'f')
		   && IS(10, '/') && IS(11, 'f') && IS(12, 'd') && IS(13, '/')) {
		at = 14;
	} else {
		return -1;
	}
#undef IS
	return number_at(s, at);
}

/* Inode numbers that stat(2) tells, too: on file systems that have none of their own making. */
static inlined u64 plain_inode(struct inode *inode)
{
	struct super_block *fs = READ(inode, i_sb);
	switch (READ(fs, s_magic)) {
	case 0xef53: /* ext2, 3, 4 */
	case 0x58465342: /* XFS */
	case 0x01021994: /* tmpfs */
		return READ(inode, i_ino);
	}
	return 0;
}

/* The directory that a relative path begins at. `own`: the path says so itself. */
noinline u32 base(struct scratch *s, struct task *t, u32 offset, u64 call, u32 own)
{
	if (!s || !t)
		return offset;
	i32 directory = call >> CALL_DIRECTORY & 7 ? (i32)ARGUMENT(s, call, CALL_DIRECTORY) : AT_FDCWD;
	if (directory != AT_FDCWD && !own)
		return base_of_fd(s, offset, (u32)directory);
	struct fs_struct *fs = READ(bpf_get_current_task_btf(), fs);
	struct dentry *cwd = READ(fs, pwd.dentry);
	struct vfsmount *mount = READ(fs, pwd.mnt);
	struct state *all = state();
	u32 epoch = all ? all->epoch : 0;
	s->r.marks |= MARK_CWD;
	if (is_gone(cwd))
		s->r.marks |= MARK_GONE;
	/* Where the working directory was sent before, and nothing was moved since, it is not sent again. */
	if (t->cwd_dentry == (u64)cwd && t->cwd_mount == (u64)mount && t->epoch == epoch) {
		s->r.marks |= MARK_SAME_BASE;
		return offset;
	}
	s->sent.cwd_dentry = (u64)cwd;
	s->sent.cwd_mount = (u64)mount;
	s->sent.epoch = epoch;
	return walk(s, offset, (u64)cwd, (u64)mount);
}

/* The path argument, and what is needed to know which file it names; how many bytes all of that is. */
noinline u32 paths(struct scratch *s, struct task *t, u64 call, i64 result)
{
	if (!s || !t)
		return NOTHING;
	long n = bpf_probe_read_user_str(s->text, PATH_MAX, (void *)ARGUMENT(s, call, CALL_PATH));
	/* The kernel refused it for the same reason, or it was made unreadable meanwhile. */
	if (n < 0 && result < 0)
		return NOTHING;
	if (n < 0) {
		s->r.marks |= MARK_FAULT;
		return 0;
	}
	/* No path: the descriptor itself, whose open was seen. */
	if (n <= 1)
		return NOTHING;
	u32 end = n, next;
	s->r.path = end;
	i32 fd = named_descriptor(s);
	bool own = s->text[0] == '/' && s->text[1] == 'p' && s->text[6] == 's' && s->text[11] == 'c';
	if (s->text[0] != '/' || own) {
		next = base(s, t, end, call, own);
		s->r.base = next - end;
		end = next;
	}
	if (fd >= 0) {
		next = target(s, end, fd);
		s->r.target = next - end;
		end = next;
	}
	return end;
}

/* Which file it was. */
noinline u32 found(struct scratch *s, u64 call, i64 result)
{
	if (!s)
		return 0;
	if (call & CALL_OPENS && result >= 0) {
		struct file *file = file_of(bpf_get_current_task_btf(), result);
		struct inode *inode = file ? READ(file, f_inode) : 0;
		if (inode)
			s->r.inode = plain_inode(inode);
	}
	if (call & (CALL_STATS | CALL_STATXES) && result == 0) {
		/* st_ino is at offset 8 of struct stat, stx_ino at 32 of struct statx. */
		u64 buffer = ARGUMENT(s, call, CALL_BUFFER);
		bpf_probe_read_user(&s->r.inode, 8, (void *)(buffer + (call & CALL_STATS ? 8 : 32)));
	}
	return 0;
}

SEC("tp_btf/sys_exit")
int on_sys_exit(u64 *context)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct task *t = bpf_task_storage_get(&TASKS, task, 0, 0);
	if (!t || !t->scope)
		return 0;
	struct pt_regs *regs = (void *)context[0];
	i64 result = context[1];
	u64 number = regs->orig_ax;
	/* Calls of other tables are the gate's. */
	if (number >= CALLS || task->thread_info.status & TS_COMPAT)
		return 0;
	u64 call = CALLS_BY_NUMBER[number];
	if (!call)
		return 0;
	if (call & CALL_EXECS) {
		if (result < 0)
			t->scope = t->before;
		return 0;
	}
	/* Interrupted, and about to be made again (ERESTARTSYS and its like). */
	if (result <= -512 && result >= -516)
		return 0;
	struct scratch *s = scratch();
	if (!s)
		return 0;
	s->arguments[1] = regs->di;
	s->arguments[2] = regs->si;
	s->arguments[3] = regs->dx;
	s->arguments[4] = regs->r10;
	s->arguments[5] = regs->r8;
	s->arguments[6] = regs->r9;
	u32 flags = ARGUMENT(s, call, CALL_FLAGS);
	if (call & CALL_OPENS && flags & OPEN_CHANGES)
		return 0;
	if (call & CALL_MOVES && result == 0) {
		struct state *all = state();
		if (all)
			__sync_fetch_and_add(&all->epoch, 1);
	}
	if (call & CALL_DONE) {
		if (result == 0) {
			begin(s, t, KIND_DONE, number, 0);
			emit(s, t, 0);
		}
		return 0;
	}
	begin(s, t, KIND_CALL, number, result);
	s->r.flags = flags;
	s->sent.cwd_dentry = 0;
	u32 end = call >> CALL_PATH & 7 ? paths(s, t, call, result) : 0;
	if (end == NOTHING)
		return 0;
	found(s, call, result);
	if (emit(s, t, end) && s->sent.cwd_dentry) {
		t->cwd_dentry = s->sent.cwd_dentry;
		t->cwd_mount = s->sent.cwd_mount;
		t->epoch = s->sent.epoch;
	}
	return 0;
}

/* In the parent, before the child runs. */
SEC("tp_btf/sched_process_fork")
int on_fork(u64 *context)
{
	struct task_struct *parent = (void *)context[0], *child = (void *)context[1];
	struct task *t = bpf_task_storage_get(&TASKS, parent, 0, 0);
	if (!t || !t->scope)
		return 0;
	struct task *c = bpf_task_storage_get(&TASKS, child, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!c) {
		/* Nothing that it does will be seen. */
		lose(t);
		return 0;
	}
	c->scope = t->scope;
	c->before = t->scope;
	c->execs = t->execs;
	if (READ(child, tgid) == READ(parent, tgid))
		return 0;
	struct scratch *s = scratch();
	if (s) {
		begin(s, t, KIND_FORK, 0, id_of(child));
		emit(s, t, 0);
	}
	return 0;
}

SEC("tp_btf/sched_process_exec")
int on_exec(u64 *context)
{
	struct task_struct *task = (void *)context[0];
	struct task *t = bpf_task_storage_get(&TASKS, task, 0, 0);
	if (t) {
		t->before = t->scope;
		t->execs++;
		t->cwd_dentry = 0;
	}
	return 0;
}
