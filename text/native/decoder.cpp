// A decoder's step on a CPU: what `TextModel.step` (text/model.py) does, in one call.
//
// The structures are those of layers.py and step.py, field by field.

#include "parts.h"

namespace unison {

struct Block {
  Norm attention_norm;
  Matrix qkv;
  Norm q_norm, k_norm;
  Matrix out;
  Norm mlp_norm;
  Matrix up, down;
};

struct Decoder {
  Matrix embed;
  Norm embed_norm;
  const float* places;  // [prefix + context, width]: learned positions, or null
  const Block* blocks;
  Norm norm;
  Matrix head;
  const float* softcap;  // or null
  int64_t depth, width, heads, kv_heads, head_width;
  int32_t mlp;
};

struct Memory {
  void* const* keys;    // a block's [rows, kv_heads, slots, head_width]
  void* const* values;  // as keys
  const float* cos;     // [slots, head_width / 2], or null
  const float* sin;
  const int64_t* padding;  // of each row, or null
  int64_t rows, slots, length, prefix, last;
  int32_t type;  // of keys and values: FLOAT32 or BFLOAT16
};

namespace {

float weight(const Matrix& m, int64_t output, int64_t input) {
  const int64_t n = A_WORD[m.type], block = output / LANES, k = input % n;
  const int32_t* words = static_cast<const int32_t*>(m.weights);
  const int32_t word = words[(block * m.words() + input / n) * LANES + output % LANES];
  if (m.type == INT8) return float(int8_t(uint32_t(word) >> 8 * k)) * m.steps[output];
  const uint32_t bits = m.type == FLOAT32 ? word : uint32_t(word) >> 16 * k << 16;
  return loaded<float>(&bits);
}

// A step's rows on their way through the blocks.
class Step {
 public:
  Step(const Decoder& decoder, const Memory& memory, int64_t threads)
      : d(decoder), m(memory), threads(threads), x(m.rows * d.width), spare(m.rows * d.width),
        queries(d.heads * d.head_width), kv(d.kv_heads * d.head_width) {
    int64_t widest = queries + 2 * kv;
    for (int64_t i = 0; i < d.depth; i++) widest = std::max(widest, d.blocks[i].up.outputs);
    wide.resize(m.rows * widest);
    seen.resize(m.rows * queries);
  }

  void embed(const int64_t* ids) {
    for (int64_t row = 0; row < m.rows; row++) {
      float* out = x.data() + row * d.width;
      for (int64_t i = 0; i < d.width; i++) out[i] = weight(d.embed, ids[row], i);
      if (d.embed_norm.kind) normalise(d.embed_norm, out, d.width, out);
      if (!d.places) continue;
      const float* place = d.places + place_of(row) * d.width;
      for (int64_t i = 0; i < d.width; i++) out[i] += place[i];
    }
  }

  void run(int64_t i) {
    const Block& block = d.blocks[i];
    multiply(block.qkv, norm(block.attention_norm), m.rows, wide.data(), threads);
    if (m.type == FLOAT32)
      look_back(block, static_cast<float*>(m.keys[i]), static_cast<float*>(m.values[i]));
    else
      look_back(block, static_cast<BFloat16*>(m.keys[i]), static_cast<BFloat16*>(m.values[i]));
    add(block.out, seen.data());
    multiply(block.up, norm(block.mlp_norm), m.rows, wide.data(), threads);
    const int64_t hidden = block.down.inputs, up = block.up.outputs;
    for (int64_t row = 0; row < m.rows; row++) {
      float* values = wide.data() + row * up;
      activate(d.mlp, values, hidden);
      if (row && up != hidden) std::memmove(wide.data() + row * hidden, values, hidden * sizeof(float));
    }
    add(block.down, wide.data());
  }

  void read_out(float* logits) {
    multiply(d.head, norm(d.norm), m.rows, logits, threads);
    if (!d.softcap) return;
    for (int64_t i = 0; i < m.rows * d.head.outputs; i++)
      logits[i] = *d.softcap * std::tanh(logits[i] / *d.softcap);
  }

 private:
  const Decoder& d;
  const Memory& m;
  const int64_t threads;
  std::vector<float> x, spare, wide, seen;
  const int64_t queries, kv;

  int64_t padding_of(int64_t row) const { return m.padding ? m.padding[row] : 0; }

  int64_t place_of(int64_t row) const {
    if (!m.padding) return m.length;
    return std::clamp<int64_t>(m.length - m.padding[row], 0, m.last);
  }

  const float* norm(const Norm& norm) {
    for (int64_t row = 0; row < m.rows; row++)
      normalise(norm, x.data() + row * d.width, d.width, spare.data() + row * d.width);
    return spare.data();
  }

  void add(const Matrix& matrix, const float* rows) {
    multiply(matrix, rows, m.rows, spare.data(), threads);
    for (size_t i = 0; i < x.size(); i++) x[i] += spare[i];
  }

  // Attend, each head by itself; queries, keys and values lie in `wide`.
  template <class C>
  void look_back(const Block& block, C* keys, C* values) {
    const int64_t tasks = m.rows * d.kv_heads, work = tasks * m.length * d.head_width;
    const int64_t parts = std::min({work / GRAIN + 1, threads, tasks});
#pragma omp parallel for num_threads(int(parts)) if (parts > 1)
    for (int64_t part = 0; part < parts; part++) {
      std::vector<float> scores(m.length + 1);
      for (int64_t t = tasks * part / parts; t < tasks * (part + 1) / parts; t++) {
        const int64_t start = t * m.slots * d.head_width;
        one_head(block, t / d.kv_heads, t % d.kv_heads, keys + start, values + start, scores.data());
      }
    }
  }

  // A row's head of keys and values, and the heads of queries that look there.
  template <class C>
  void one_head(const Block& block, int64_t row, int64_t head, C* keys, C* values, float* scores) {
    const int64_t width = d.head_width, group = d.heads / d.kv_heads;
    float* q = wide.data() + row * (queries + 2 * kv) + head * group * width;
    float* k = wide.data() + row * (queries + 2 * kv) + queries + head * width;
    const float* v = k + kv;
    turn(block.k_norm, row, k);
    for (int64_t i = 0; i < width; i++) narrow(k[i], keys + m.length * width + i);
    for (int64_t i = 0; i < width; i++) narrow(v[i], values + m.length * width + i);
    for (int64_t g = 0; g < group; g++) {
      turn(block.q_norm, row, q + g * width);
      float* out = seen.data() + row * queries + (head * group + g) * width;
      const Seen slots{m.length + 1, m.prefix, padding_of(row)};
      attend<C>(q + g * width, keys, values, width, slots, scores, out);
    }
  }

  void turn(const Norm& norm, int64_t row, float* x) const {
    if (norm.kind) normalise(norm, x, d.head_width, x);
    const int64_t half = d.head_width / 2, place = place_of(row) * half;
    if (m.cos) rotate(x, d.head_width, m.cos + place, m.sin + place);
  }
};

}  // namespace
}  // namespace unison

extern "C" {

// Of Matrix, Norm, Block, Decoder and Memory: the structures in Python must have the same.
extern const int64_t unison_sizes[5];
const int64_t unison_sizes[5] = {sizeof(unison::Matrix), sizeof(unison::Norm),
                                 sizeof(unison::Block), sizeof(unison::Decoder),
                                 sizeof(unison::Memory)};

int64_t unison_lanes() { return unison::LANES; }

void unison_multiply(const unison::Matrix* matrix, const float* x, int64_t rows, float* out,
                     int64_t threads) {
  unison::multiply(*matrix, x, rows, out, threads);
}

// Returns false, and does nothing, if an id is none of the vocabulary's.
bool unison_step(const unison::Decoder* decoder, const unison::Memory* memory, const int64_t* ids,
                 float* logits, int64_t threads) {
  for (int64_t row = 0; row < memory->rows; row++)
    if (ids[row] < 0 || ids[row] >= decoder->embed.outputs) return false;
  unison::Step step(*decoder, *memory, threads);
  step.embed(ids);
  for (int64_t i = 0; i < decoder->depth; i++) step.run(i);
  step.read_out(logits);
  return true;
}
}
