// bf16 as CUDA's header of this name declares it, as far as the kernels use it.
#pragma once
#include <cstdint>
#include <cstring>

struct __nv_bfloat16 {
    uint16_t bits;
};

inline float __bfloat162float(__nv_bfloat16 x) {
    const uint32_t bits = (uint32_t)x.bits << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

// To the nearest, of two equally near the even one.
inline __nv_bfloat16 __float2bfloat16_rn(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    if ((bits & 0x7fffffff) > 0x7f800000) {
        return {(uint16_t)(bits >> 16 | 0x40)};
    }
    return {(uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}
