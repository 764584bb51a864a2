/* Counts the guest instructions executed between two marks, under qemu-user.
 *
 * A guest marks with lseek(fd, MAGIC | operation | id, SEEK_SET) on /dev/null. Each closed pair
 * appends a line "id instructions" to the file of the plugin argument out=PATH; what makes counts
 * meaningless appends "error TEXT" instead, and nothing is counted from there on.
 *
 * A block of translated code adds its length as it is entered, and a system call ends its block:
 * a pair holds what follows the first lseek, up to and with the second.
 *
 * The declarations restate the documented plugin ABI, so that no qemu source is needed. The weak
 * ones tell API 1 (qemu 7.2 to 8.2) from API 2 to 6 (9.0 on) when the plugin is loaded.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef uint64_t plugin_id;
typedef struct { void *score; size_t offset; } scored;
typedef struct {
    const char *target;
    struct { int min, current; } version;
} qemu_info;
typedef void on_vcpu(plugin_id, unsigned vcpu);
typedef void on_block(plugin_id, void *block);
typedef void on_exit(plugin_id, void *data);
typedef void on_syscall(plugin_id, unsigned vcpu, int64_t number, uint64_t, uint64_t, uint64_t,
                        uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);
enum { ADD_U64 = 0 };

size_t qemu_plugin_tb_n_insns(const void *block);
void qemu_plugin_register_vcpu_init_cb(plugin_id, on_vcpu *);
void qemu_plugin_register_vcpu_exit_cb(plugin_id, on_vcpu *);
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, on_block *);
void qemu_plugin_register_vcpu_syscall_cb(plugin_id, on_syscall *);
void qemu_plugin_register_atexit_cb(plugin_id, on_exit *, void *data);
#define WEAK __attribute__((weak))
WEAK void qemu_plugin_register_vcpu_tb_exec_inline(void *block, int op, void *sum, uint64_t);
WEAK void qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(void *block, int op, scored, uint64_t);
WEAK void *qemu_plugin_scoreboard_new(size_t);
WEAK uint64_t qemu_plugin_u64_get(scored, unsigned vcpu);

#define MAGIC UINT64_C(0x45504B)
enum { START = 1, STOP = 2, NOTHING = -1 };

int qemu_plugin_version = 1;

static char path[4096];
static int64_t lseek_number;
static uint64_t total, at_start;
static scored totals;
static _Atomic int alive;
static int open_mark = NOTHING, failed;

__attribute__((constructor)) static void choose_api(void)
{
    if (qemu_plugin_scoreboard_new)
        qemu_plugin_version = 2;
}

/* Opened for each line: the guest shares our file descriptors and may close any of them. */
__attribute__((format(printf, 1, 2))) static void report(const char *format, ...)
{
    FILE *out = fopen(path, "a");
    if (!out)
        return;
    va_list values;
    va_start(values, format);
    vfprintf(out, format, values);
    va_end(values);
    fclose(out);
}

#define FAIL(...) (failed = 1, report("error " __VA_ARGS__))

static void vcpu_starts(plugin_id id, unsigned vcpu)
{
    alive++;
    if (open_mark != NOTHING && !failed)
        FAIL("a second thread started inside mark %d\n", open_mark);
}

static void vcpu_ends(plugin_id id, unsigned vcpu) { alive--; }

static void translated(plugin_id id, void *block)
{
    size_t length = qemu_plugin_tb_n_insns(block);
    if (qemu_plugin_version == 1)
        qemu_plugin_register_vcpu_tb_exec_inline(block, ADD_U64, &total, length);
    else
        qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(block, ADD_U64, totals, length);
}

/* qemu wakes whoever joins a thread just before it tells us that the thread ended. */
static int threads(void)
{
    for (int tries = 0; alive > 1 && tries < 100; tries++)
        usleep(1000);
    return alive;
}

static void system_call(plugin_id id, unsigned vcpu, int64_t number, uint64_t fd, uint64_t offset,
                        uint64_t a3, uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8)
{
    if (number != lseek_number || offset >> 32 != MAGIC || failed)
        return;
    uint64_t now = qemu_plugin_version == 1 ? total : qemu_plugin_u64_get(totals, vcpu);
    int operation = offset >> 24 & 0xFF, mark = offset & 0xFFFFFF;
    if (operation != START && operation != STOP)
        FAIL("mark %d has the unknown operation %d\n", mark, operation);
    else if (threads() > 1)
        FAIL("mark %d in a process of %d threads\n", mark, alive);
    else if (operation == START && open_mark != NOTHING)
        FAIL("mark %d starts inside mark %d\n", mark, open_mark);
    else if (operation == STOP && open_mark != mark)
        FAIL("mark %d stops but is not the one that runs\n", mark);
    else if (operation == START)
        open_mark = mark, at_start = now;
    else
        open_mark = NOTHING, report("%d %llu\n", mark, (unsigned long long)(now - at_start));
}

static void ending(plugin_id id, void *data)
{
    if (open_mark != NOTHING && !failed)
        FAIL("mark %d never stops\n", open_mark);
}

int qemu_plugin_install(plugin_id id, const qemu_info *qemu, int count, char **arguments)
{
    if (count != 1 || sscanf(arguments[0], "out=%4095[^\n]", path) != 1)
        return fprintf(stderr, "the counting plugin takes one argument, out=PATH\n"), -1;
    lseek_number = !strcmp(qemu->target, "aarch64") ? 62 : !strcmp(qemu->target, "x86_64") ? 8 : -1;
    FILE *out = fopen(path, "w");
    if (!out || fclose(out))
        return fprintf(stderr, "the counting plugin cannot write %s\n", path), -1;
    if (lseek_number < 0)
        FAIL("no counting on %s\n", qemu->target);
    if (qemu_plugin_version == 2)
        totals.score = qemu_plugin_scoreboard_new(sizeof total);
    qemu_plugin_register_vcpu_init_cb(id, vcpu_starts);
    qemu_plugin_register_vcpu_exit_cb(id, vcpu_ends);
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, system_call);
    qemu_plugin_register_atexit_cb(id, ending, NULL);
    return 0;
}
