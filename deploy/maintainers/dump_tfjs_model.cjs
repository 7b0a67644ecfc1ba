// Prints the model of the npm package nsfwjs as JSON: its layers, its weight manifest, and the weights in base64.
// Called by convert_embedded_classifier.py with the unpacked package as argument; see there.
"use strict";
const path = require("path");

const folder = path.join(process.argv[2], "dist", "models", "mobilenet_v2");
const model = require(path.join(folder, "model.min.js"));
const weights = require(path.join(folder, "group1-shard1of1.min.js"));

process.stdout.write(
  JSON.stringify({
    layers: model.modelTopology.model_config.config.layers,
    manifest: model.weightsManifest,
    weights,
  }),
);
