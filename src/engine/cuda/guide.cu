// Guidance of all concepts and their momenta: the twin of `guide` in guidance.rs, with the same operations in the same order.
#include "select.cuh"

// As in guide.rs.
#define MOST 32

// A concept's part. Its edit is strength * (its row - the base) where that is large enough, 0 elsewhere.
struct Term {
    unsigned row;      // in the estimates
    unsigned rank;     // of the least magnitude that is kept, ascending; 0 keeps all
    float strength;
    float direct;      // the edit's factor in the estimate
    int momentum;      // that it feeds, or -1
    float share;       // its factor there
    int effect;        // the map that its magnitudes are added to, or -1
};

struct Momentum {
    const float *before; // null where it is 0
    float scale;
    float decay;
    float rest;  // 1 - decay
    float added; // its force's factor in the estimate
    int next;    // which of the next momenta it becomes, or -1
    int unused;
};

struct Guidance {
    unsigned channels;
    unsigned places;
    unsigned base;      // the row that differences are taken from
    int prompt;         // the prompt's row, or -1
    float scale;        // its factor
    unsigned terms;
    unsigned momenta;
    unsigned effects;
    Term term[MOST];
    Momentum momentum[MOST];
    const float *effect[MOST]; // the maps before, [places]; null where they are 0
};

// The edit of a term before its threshold.
__device__ inline float edit_at(const float *estimates, const Guidance &g, const Term &term, const size_t at) {
    const size_t row = (size_t)g.channels * g.places;
    return (estimates[term.row * row + at] - estimates[g.base * row + at]) * term.strength;
}

// For each term and channel, a block each, the bits of the least magnitude that is kept.
extern "C" __global__ void thresholds(const float *estimates, const __grid_constant__ Guidance g, unsigned *least) {
    const Term &term = g.term[blockIdx.x / g.channels];
    const size_t channel = (size_t)(blockIdx.x % g.channels) * g.places;
    unsigned found = 0;
    if (term.rank > 0) {
        const unsigned rank = term.rank < g.places ? term.rank : g.places - 1;
        found = magnitude_of_rank([&](unsigned i) { return edit_at(estimates, g, term, channel + i); }, g.places, rank);
    }
    if (threadIdx.x == 0) {
        least[blockIdx.x] = found;
    }
}

// The guided estimate [channels, places], the next momenta [.., channels, places] and the maps of effects [.., places]; a
// thread for each place.
extern "C" __global__ void guide(const float *estimates, const __grid_constant__ Guidance g, const unsigned *least, float *guided,
                                 float *momenta, float *effects) {
    const unsigned place = blockIdx.x * blockDim.x + threadIdx.x;
    if (place >= g.places) {
        return;
    }
    const size_t row = (size_t)g.channels * g.places;
    float force[MOST];
    float effect[MOST];
    for (unsigned i = 0; i < g.effects; ++i) {
        effect[i] = 0.0f;
    }
    for (unsigned channel = 0; channel < g.channels; ++channel) {
        const size_t at = (size_t)channel * g.places + place;
        const float base = estimates[g.base * row + at];
        float offset = g.prompt < 0 ? 0.0f : (estimates[g.prompt * row + at] - base) * g.scale;
        for (unsigned i = 0; i < g.momenta; ++i) {
            force[i] = 0.0f;
        }
        for (unsigned i = 0; i < g.terms; ++i) {
            const Term &term = g.term[i];
            float edit = edit_at(estimates, g, term, at);
            if ((__float_as_uint(edit) & 0x7fffffffu) < least[i * g.channels + channel]) {
                edit = 0.0f;
            }
            if (term.effect >= 0) {
                effect[term.effect] += fabsf(edit);
            }
            if (term.direct != 0.0f) {
                offset += edit * term.direct;
            }
            if (term.momentum >= 0) {
                force[term.momentum] += edit * term.share;
            }
        }
        for (unsigned i = 0; i < g.momenta; ++i) {
            const Momentum &momentum = g.momentum[i];
            const float before = momentum.before ? momentum.before[at] : 0.0f;
            force[i] += before * momentum.scale;
            if (momentum.added != 0.0f) {
                offset += force[i] * momentum.added;
            }
            if (momentum.next >= 0) {
                momenta[momentum.next * row + at] = force[i] * momentum.rest + before * momentum.decay;
            }
        }
        guided[at] = base + offset;
    }
    for (unsigned i = 0; i < g.effects; ++i) {
        effects[(size_t)i * g.places + place] = (g.effect[i] ? g.effect[i][place] : 0.0f) + effect[i];
    }
}
