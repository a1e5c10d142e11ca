// a * gelu(g) with [a, g] = x + bias, gelu in its exact form: the twin of `gated` in fused.rs.
#include "numbers.cuh"

// x [positions, 2 width] and bias [2 width] to [positions, width], a thread for each number.
template <typename T>
__device__ inline void gate(const T *x, const T *bias, T *y, const unsigned width, const unsigned count) {
    const unsigned at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= count) {
        return;
    }
    const unsigned column = at % width;
    const T *from = x + (size_t)(at / width) * 2 * width;
    const float value = wide(from[column]) + wide(bias[column]);
    const float gate = wide(from[width + column]) + wide(bias[width + column]);
    y[at] = narrow<T>(value * (0.5f * gate * (1.0f + erff(gate * 0.70710678f))));
}

#define GATE(T, NAME)                                                                                                    \
    extern "C" __global__ void gate_##NAME(const T *x, const T *bias, T *y, const unsigned width, const unsigned count) {  \
        gate(x, bias, y, width, count);                                                                                  \
    }
FOR_EACH_TYPE(GATE)
