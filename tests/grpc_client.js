// grpc_client.py's sibling for Node.js, driven line by line: node grpc_client.js TARGET.
//
// It keeps one channel to TARGET. Each line that it reads is the time limit of one call, in seconds, and its
// metadata, `key=value` each; each line that it writes is the outcome: `ok NAME-OF-THE-BACKEND` or `error CODE DETAILS`. NODE_PATH has @grpc/grpc-js and
// @grpc/grpc-js-xds.

const readline = require("node:readline");

const grpc = require("@grpc/grpc-js");
require("@grpc/grpc-js-xds").register();

const client = new grpc.Client(process.argv[2], grpc.credentials.createInsecure());
const same = (bytes) => bytes;

function call([seconds, ...pairs]) {
  const deadline = new Date(Date.now() + 1000 * Number(seconds));
  const metadata = new grpc.Metadata();
  for (const pair of pairs) {
    const at = pair.indexOf("=");
    metadata.add(pair.slice(0, at), pair.slice(at + 1));
  }
  return new Promise((resolve) => {
    client.makeUnaryRequest("/test.Who/Are", same, same, Buffer.alloc(0), metadata, { deadline }, (error, answer) => {
      resolve(error ? `error ${grpc.status[error.code]} ${error.details}` : `ok ${answer}`);
    });
  });
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const outcome = await call(line.trim().split(/\s+/));
    process.stdout.write(outcome.split(/\s+/).join(" ") + "\n");
  }
  client.close();
}

main();
