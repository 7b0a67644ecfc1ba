// Prints what the original model answers for pictures: one JSON array of five probabilities a picture.
// Arguments: the folder with node_modules/@tensorflow/tfjs, the unpacked nsfwjs package, a file with raw RGB
// pictures of 256 x 256 bytes one after another. The steps are those of nsfwjs itself (dist/esm/core.js, infer):
// divide by 255, resize bilinearly with aligned corners to 224 x 224, predict.
"use strict";
const fs = require("fs");
const path = require("path");

const [, , modules, folder, pictures] = process.argv;
const tf = require(path.join(modules, "node_modules", "@tensorflow", "tfjs"));
const model = require(path.join(folder, "dist", "models", "mobilenet_v2", "model.min.js"));
const weights = require(path.join(folder, "dist", "models", "mobilenet_v2", "group1-shard1of1.min.js"));
const SIDE = 256;

async function main() {
  await tf.setBackend("cpu");
  const data = Buffer.from(weights, "base64");
  const layers = await tf.loadLayersModel({
    load: async () => ({
      modelTopology: model.modelTopology,
      weightSpecs: model.weightsManifest.flatMap((group) => group.weights),
      weightData: data.buffer.slice(data.byteOffset, data.byteOffset + data.length),
    }),
  });
  const raw = fs.readFileSync(pictures);
  const size = SIDE * SIDE * 3;
  const answers = [];
  for (let start = 0; start < raw.length; start += size) {
    const input = tf.tensor3d(Float32Array.from(raw.subarray(start, start + size)), [SIDE, SIDE, 3]);
    const small = tf.image.resizeBilinear(input.div(255), [224, 224], true).expandDims(0);
    answers.push(Array.from(await layers.predict(small).data()));
  }
  console.log(JSON.stringify(answers));
}

main();
