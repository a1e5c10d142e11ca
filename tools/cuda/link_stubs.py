#!/usr/bin/env python3
"""Makes static stand-ins for the CUDA libraries that the crate cudarc links, so that a program can be linked where there are
none of them, and starts where there are none.

usage: link_stubs.py CUDARC_SOURCES FOLDER        (Linux, x86-64)

Every function of the crate's bindings becomes a jump through a table. At its first call the library is opened (by its usual
name, then in each folder of CUDA_LIB_DIRS, which are separated by colons) and the table's entry becomes the library's own
function. Where there is no library it becomes one that answers with the library's code for "not there", which cudarc reports as
an error like any other. CUDA_LIB_DEBUG=1 tells what could not be opened.
"""
import pathlib, re, subprocess, sys

# Folder of the bindings: the name to link by, the library's own name, the code for "not there".
LIBRARIES = {
    "driver": ("cuda", "libcuda.so.1", 34),
    "nvrtc": ("nvrtc", "libnvrtc.so.13", 11),
    "curand": ("curand", "libcurand.so.10", 203),
    "cublas": ("cublas", "libcublas.so.13", 1),
    "cublaslt": ("cublasLt", "libcublasLt.so.13", 1),
    "cudnn": ("cudnn", "libcudnn.so.9", 1001),
}

RESOLVE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
extern void *@PREFIX@_table[] __attribute__((visibility("hidden")));
static const char *const names[] = {@NAMES@};
static int not_there(void) { return @CODE@; }
static void *open_library(void) {
    static void *library;
    static int tried;
    if (__atomic_load_n(&tried, __ATOMIC_ACQUIRE)) return library;
    void *found = dlopen("@LIBRARY@", RTLD_NOW | RTLD_GLOBAL);
    const char *folders = getenv("CUDA_LIB_DIRS");
    while (!found && folders && *folders) {
        char path[4096];
        const size_t length = strcspn(folders, ":");
        if (length && length < 3000) {
            snprintf(path, sizeof path, "%.*s/%s", (int)length, folders, "@LIBRARY@");
            found = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
        }
        folders += length + (folders[length] == ':');
    }
    if (!found && getenv("CUDA_LIB_DEBUG")) fprintf(stderr, "%s\n", dlerror());
    library = found;
    __atomic_store_n(&tried, 1, __ATOMIC_RELEASE);
    return found;
}
__attribute__((visibility("hidden"))) void *@PREFIX@_resolve(unsigned long at) {
    void *library = open_library(), *function = library ? dlsym(library, names[at]) : 0;
    if (library && !function) fprintf(stderr, "@LIBRARY@ has no %s\n", names[at]);
    if (!function) function = (void *)not_there;
    __atomic_store_n(&@PREFIX@_table[at], function, __ATOMIC_RELEASE);
    return function;
}
"""


def jumps(names, prefix):
    """The functions, the way to the resolver, which keeps all registers that carry arguments, and the table."""
    lines = [".text"]
    for at, name in enumerate(names):
        lines += [f".globl {name}", f".type {name},@function", ".p2align 4", f"{name}: endbr64", f"jmp *{prefix}_table+{8 * at}(%rip)",
                  f".L{at}: pushq ${at}", f"jmp {prefix}_first", f".size {name},.-{name}"]
    lines += [f"{prefix}_first:"] + [f"pushq %{register}" for register in "rdi rsi rdx rcx r8 r9 rax".split()] + ["subq $136,%rsp"]
    lines += [f"movups %xmm{n},{16 * n}(%rsp)" for n in range(8)]
    lines += ["movq 192(%rsp),%rdi", f"call {prefix}_resolve", "movq %rax,%r11"]
    lines += [f"movups {16 * n}(%rsp),%xmm{n}" for n in range(8)] + ["addq $136,%rsp"]
    lines += [f"popq %{register}" for register in "rax r9 r8 rcx rdx rsi rdi".split()] + ["addq $8,%rsp", "jmp *%r11"]
    lines += [".data", ".p2align 3", f".hidden {prefix}_table", f".globl {prefix}_table", f"{prefix}_table:"]
    lines += [f".quad .L{at}" for at in range(len(names))] + ['.section .note.GNU-stack,"",@progbits']
    return "\n".join(lines) + "\n"


def functions(bindings):
    declared = re.findall(r"^\s*(?:pub )?(?:unsafe )?fn ((?:cu|nvrtc|curand|cublas|cudnn)[A-Za-z0-9_]+)\s*\(", bindings, re.M)
    renamed = re.findall(r'link_name = "([A-Za-z0-9_]+)"', bindings)
    return sorted({*declared, *renamed} - {"culib"})


def main():
    sources, folder = map(pathlib.Path, sys.argv[1:])
    folder.mkdir(parents=True, exist_ok=True)
    for part, (name, library, code) in LIBRARIES.items():
        names = functions((sources / "src" / part / "sys" / "mod.rs").read_text())
        prefix = f"lazy_{name}"
        made = {"s": jumps(names, prefix), "c": RESOLVE}
        for mark, text in dict(PREFIX=prefix, LIBRARY=library, CODE=str(code), NAMES=",".join(f'"{one}"' for one in names)).items():
            made["c"] = made["c"].replace(f"@{mark}@", text)
        objects = []
        for ending, text in made.items():
            source = folder / f"{prefix}_{ending}.{ending}"
            source.write_text(text)
            objects.append(source.with_suffix(".o"))
            subprocess.run(["gcc", "-O2", "-fPIC", "-c", "-o", objects[-1], source], check=True)
            source.unlink()
        archive = folder / f"lib{name}.a"
        archive.unlink(missing_ok=True)
        subprocess.run(["ar", "rcs", archive, *objects], check=True)
        for one in objects:
            one.unlink()
        print(f"{library}: {len(names)} functions")


if __name__ == "__main__":
    main()
