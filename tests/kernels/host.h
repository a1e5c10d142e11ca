// As much of CUDA as the kernels use, on the processor: a block's threads are fibres that take turns between barriers, in an
// order that can be chosen. What depends on the order is a race.
#pragma once
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <vector>

#define __global__
#define __device__
#define __grid_constant__
// Blocks come one after the other, so that one is enough.
#define __shared__ static

struct Index {
    unsigned x;
};
static Index threadIdx, blockIdx, blockDim, gridDim;

inline unsigned __float_as_uint(float x) {
    unsigned bits;
    memcpy(&bits, &x, 4);
    return bits;
}

inline unsigned atomicAdd(unsigned *at, unsigned x) {
    const unsigned before = *at;
    *at += x;
    return before;
}

[[noreturn]] inline void fail(const char *what) {
    fprintf(stderr, "%s\n", what);
    exit(1);
}

namespace host {
struct Fibre {
    ucontext_t context;
    bool done;
};
static ucontext_t scheduler;
static Fibre *current;
static const std::function<void()> *kernel;
static unsigned order; // 0 ascending, 1 descending, others by chance

inline void enter() {
    (*kernel)();
    current->done = true;
    swapcontext(&current->context, &scheduler);
}

inline void begin(Fibre &fibre, char *stack, size_t bytes) {
    fibre.done = false;
    getcontext(&fibre.context);
    fibre.context.uc_stack.ss_sp = stack;
    fibre.context.uc_stack.ss_size = bytes;
    fibre.context.uc_link = nullptr;
    makecontext(&fibre.context, enter, 0);
}

// Runs a kernel on so many blocks of so many threads.
inline void launch(unsigned blocks, unsigned threads, const std::function<void()> &code) {
    const size_t stack = 1 << 16;
    std::vector<Fibre> fibres(threads);
    std::vector<char> stacks(threads * stack);
    std::vector<unsigned> turns(threads);
    std::mt19937 chance(order);
    kernel = &code;
    gridDim.x = blocks;
    blockDim.x = threads;
    for (unsigned block = 0; block < blocks; ++block) {
        blockIdx.x = order == 1 ? blocks - 1 - block : block;
        for (unsigned i = 0; i < threads; ++i) {
            turns[i] = order == 1 ? threads - 1 - i : i;
            begin(fibres[i], &stacks[i * stack], stack);
        }
        for (unsigned done = 0; done < threads;) {
            if (order > 1) {
                std::shuffle(turns.begin(), turns.end(), chance);
            }
            done = 0;
            for (unsigned i : turns) {
                current = &fibres[i];
                threadIdx.x = i;
                swapcontext(&scheduler, &current->context);
                done += current->done;
            }
            if (done != 0 && done != threads) {
                fail("threads of a block end while others wait for them");
            }
        }
    }
}
} // namespace host

inline void __syncthreads() {
    host::Fibre *own = host::current;
    swapcontext(&own->context, &host::scheduler);
}

namespace host {
// Numbers that end where a page ends behind which there is none: what reads or writes further is stopped.
class Memory {
  public:
    explicit Memory(size_t bytes) : bytes(bytes) {
        const size_t page = (size_t)sysconf(_SC_PAGESIZE);
        whole = (bytes + page - 1) / page * page + page;
        start = (char *)mmap(nullptr, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
        if (start == MAP_FAILED || mprotect(start + whole - page, page, PROT_NONE)) {
            fail("no memory");
        }
        data = start + whole - page - bytes;
    }
    Memory(const Memory &) = delete;
    ~Memory() { munmap(start, whole); }
    char *data;
    const size_t bytes;

  private:
    char *start;
    size_t whole;
};

template <typename T> T read() {
    T value;
    if (fread(&value, sizeof value, 1, stdin) != 1) {
        fail("the input ends too soon");
    }
    return value;
}

static std::vector<std::unique_ptr<Memory>> memories;

// Numbers of the input: how many bytes, and then these.
template <typename T> T *numbers() {
    const uint64_t bytes = read<uint64_t>();
    memories.push_back(std::make_unique<Memory>(bytes));
    Memory &memory = *memories.back();
    if (bytes && fread(memory.data, bytes, 1, stdin) != 1) {
        fail("the input ends too soon");
    }
    return (T *)memory.data;
}

// The same; no pointer where there are none.
template <typename T> T *numbers_if_any() {
    T *data = numbers<T>();
    return memories.back()->bytes ? data : nullptr;
}

// Writes what has become of the last so many.
inline void answer(size_t last) {
    for (size_t i = memories.size() - last; i < memories.size(); ++i) {
        fwrite(memories[i]->data, memories[i]->bytes, 1, stdout);
    }
}
} // namespace host
