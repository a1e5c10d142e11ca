// Numbers of 16 bits are stored so, and computed with in f32.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

__device__ inline float wide(float x) { return x; }
__device__ inline float wide(__half x) { return __half2float(x); }
__device__ inline float wide(__nv_bfloat16 x) { return __bfloat162float(x); }

template <typename T> __device__ inline T narrow(float x);
template <> __device__ inline float narrow<float>(float x) { return x; }
template <> __device__ inline __half narrow<__half>(float x) { return __float2half_rn(x); }
template <> __device__ inline __nv_bfloat16 narrow<__nv_bfloat16>(float x) { return __float2bfloat16_rn(x); }

// A kernel for each type of number: NAME_f32, NAME_f16 and NAME_bf16. T is the type in PARAMETERS.
#define FOR_EACH_TYPE(KERNEL) \
    KERNEL(float, f32)        \
    KERNEL(__half, f16)       \
    KERNEL(__nv_bfloat16, bf16)
