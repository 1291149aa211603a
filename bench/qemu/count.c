/* A plugin for QEMU's translator that counts the instructions a program executes, in all and by function.
 *
 * Plugin interface 1 (QEMU 6.0 to 8.2), declared here because distributions ship no header. Instructions are counted
 * as they are executed, block by block: exact but for a block that ends early by an exception.
 *
 *   cc -shared -fPIC -O2 -o count.so count.c
 *   qemu-aarch64 -plugin count.so[,functions=on] -d plugin PROGRAM
 *
 * prints at the end "instructions N", and with functions=on "function N NAME" for each. */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t plugin_id;
struct tb;
struct insn;

extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, void (*translated)(plugin_id, struct tb *));
extern void qemu_plugin_register_atexit_cb(plugin_id id, void (*ended)(plugin_id, void *), void *data);
extern size_t qemu_plugin_tb_n_insns(const struct tb *tb);
extern struct insn *qemu_plugin_tb_get_insn(const struct tb *tb, size_t index);
extern const char *qemu_plugin_insn_symbol(const struct insn *insn);
/* Operation 0 adds `value` to `*counter` each time the block is executed. */
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct tb *tb, int operation, void *counter, uint64_t value);
extern void qemu_plugin_outs(const char *text);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

struct function {
    struct function *next;
    const char *name;
    uint64_t count;
};

static uint64_t total;
static int by_function;
/* Names are QEMU's own and stay; so few are looked up that a list does. */
static struct function *functions;

static struct function *find(const char *name)
{
    for (struct function *f = functions; f; f = f->next) {
        if (f->name == name || !strcmp(f->name, name)) {
            return f;
        }
    }
    struct function *f = calloc(1, sizeof *f);
    if (!f) {
        abort();
    }
    f->name = name;
    f->next = functions;
    functions = f;
    return f;
}

static void translated(plugin_id id, struct tb *tb)
{
    (void)id;
    size_t count = qemu_plugin_tb_n_insns(tb);
    qemu_plugin_register_vcpu_tb_exec_inline(tb, 0, &total, count);
    if (by_function && count) {
        const char *name = qemu_plugin_insn_symbol(qemu_plugin_tb_get_insn(tb, 0));
        struct function *f = find(name ? name : "?");
        qemu_plugin_register_vcpu_tb_exec_inline(tb, 0, &f->count, count);
    }
}

static void ended(plugin_id id, void *data)
{
    (void)id;
    (void)data;
    char line[512];
    snprintf(line, sizeof line, "instructions %" PRIu64 "\n", total);
    qemu_plugin_outs(line);
    for (struct function *f = functions; f; f = f->next) {
        snprintf(line, sizeof line, "function %" PRIu64 " %.400s\n", f->count, f->name);
        qemu_plugin_outs(line);
    }
}

__attribute__((visibility("default"))) int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
    (void)info;
    for (int i = 0; i < argc; i++) {
        if (!strcmp(argv[i], "functions=on")) {
            by_function = 1;
        } else {
            fprintf(stderr, "count: unknown argument %s\n", argv[i]);
            return -1;
        }
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, ended, NULL);
    return 0;
}
