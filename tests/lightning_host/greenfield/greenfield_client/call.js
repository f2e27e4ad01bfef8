// Calls methods of the npm package btcpay-greenfield-node-client: reads {base, token, calls: [[service, method, args]]}
// from standard input, writes for each call {ok: body} or {error: {status, body}}.
const greenfield = require("btcpay-greenfield-node-client");

async function main() {
  let text = "";
  for await (const part of process.stdin) text += part;
  const { base, token, calls } = JSON.parse(text);
  greenfield.OpenAPI.BASE = base;
  greenfield.OpenAPI.TOKEN = token;
  const answers = [];
  for (const [service, method, args] of calls) {
    try {
      answers.push({ ok: await greenfield[service][method](args) });
    } catch (error) {
      if (error.status === undefined) throw error;
      answers.push({ error: { status: error.status, body: error.body } });
    }
  }
  process.stdout.write(JSON.stringify(answers));
}

main();
