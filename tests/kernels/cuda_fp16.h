// f16 as CUDA's header of this name declares it, as far as the kernels use it.
#pragma once
#include <cstdint>
#include <cstring>

struct __half {
    uint16_t bits;
};

inline float __half2float(__half half) {
    const uint32_t sign = (uint32_t)(half.bits & 0x8000) << 16;
    const uint32_t exponent = (half.bits >> 10) & 31, fraction = half.bits & 1023;
    float size;
    if (exponent == 31) {
        const uint32_t bits = 0x7f800000u | fraction << 13;
        memcpy(&size, &bits, 4);
    } else if (exponent == 0) {
        size = (float)fraction / 16777216.0f;
    } else {
        const uint32_t bits = (exponent + 112) << 23 | fraction << 13;
        memcpy(&size, &bits, 4);
    }
    return sign ? -size : size;
}

// To the nearest, of two equally near the even one.
inline __half __float2half_rn(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    const uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    const uint32_t size = bits & 0x7fffffff;
    if (size > 0x7f800000) {
        return {(uint16_t)(sign | 0x7e00)};
    }
    if (size >= 0x477ff000) { // from 65520 on
        return {(uint16_t)(sign | 0x7c00)};
    }
    if (size < 0x38800000) { // a multiple of the smallest: adding 0.5 leaves it in the last places
        float shifted;
        memcpy(&shifted, &size, 4);
        shifted += 0.5f;
        uint32_t places;
        memcpy(&places, &shifted, 4);
        return {(uint16_t)(sign | (places - 0x3f000000))};
    }
    const uint32_t rounded = size + 0xfff + (size >> 13 & 1);
    return {(uint16_t)(sign | ((rounded >> 13) - (112 << 10)))};
}
