// A server made of the packages that Flash runs (flash-api.md 1.2), with Flash's operation names.
//
//   node server.mjs '{"mode": "execute", "http": "accept", "token": "ory_st_...", "keepAlive": 12000}'
//
// mode   what becomes of a query or mutation on the socket: executed; declined, as by Flash since June 2023 (onSubscribe
//        returns the error); or the whole socket closed, as by Flash before that (onSubscribe throws, so 4500).
// http   whether POST /graphql takes the token, or answers 401. Without a token it is anonymous, as at Flash.
//
// Prints {"port": n} when it is ready, and ends when its standard input does. It invents no invoices: a test hands them
// in. Control, JSON over HTTP:
//   POST /control/invoices {"invoices": [{"paymentRequest", "paymentHash"}, ...]}   what the next creations answer
//   POST /control/pay      {"paymentHash"}                                          settles one, and says so on myUpdates
//   GET  /control/seen     {"operations": {name: {"websocket": n, "http": n}}, "sockets": n, "subscribers": n, "pongs": n}

import { createServer } from "node:http";
import { GraphQLError, buildSchema, getOperationAST, graphql, parse } from "graphql";
import { useServer } from "graphql-ws/lib/use/ws";
import { WebSocketServer } from "ws";

const options = { mode: "execute", http: "accept", token: "ory_st_peer", keepAlive: 12000, ...JSON.parse(process.argv[2] ?? "{}") };
const ACCOUNT = "6f1b2c3d-0000-4000-8000-00000000000a";
const WALLET = "6f1b2c3d-0000-4000-8000-00000000000b";

const schema = buildSchema(`
  scalar WalletId
  scalar FractionalCentAmount
  scalar Memo
  scalar Minutes
  scalar LnPaymentRequest
  scalar PaymentHash
  scalar Timestamp
  scalar SafeInt
  enum InvoicePaymentStatus { PENDING PAID EXPIRED }
  interface Error { message: String! code: String }
  type GraphQLApplicationError implements Error { message: String! code: String }
  type Globals { network: String! }
  type UsdWallet { id: WalletId! walletCurrency: String! isExternal: Boolean! balance: FractionalCentAmount }
  type ConsumerAccount { id: String! defaultWalletId: WalletId! wallets: [UsdWallet!]! }
  type User { defaultAccount: ConsumerAccount! }
  type PriceOfOneSat { base: SafeInt! offset: Int! }
  type RealtimePrice { timestamp: Timestamp! denominatorCurrency: String! btcSatPrice: PriceOfOneSat! }
  type LnInvoice { paymentRequest: LnPaymentRequest! paymentHash: PaymentHash! satoshis: Int }
  type LnInvoicePayload { errors: [Error!]! invoice: LnInvoice }
  type LnInvoicePaymentStatusPayload { errors: [Error!]! status: InvoicePaymentStatus }
  type LnUpdate { paymentHash: PaymentHash! status: InvoicePaymentStatus! walletId: WalletId! }
  type Price { base: SafeInt! }
  union UserUpdate = LnUpdate | Price | RealtimePrice
  type MyUpdatesPayload { errors: [Error!]! me: User update: UserUpdate }
  input LnUsdInvoiceCreateInput { walletId: WalletId! amount: FractionalCentAmount! memo: Memo expiresIn: Minutes }
  input LnUsdInvoiceCreateOnBehalfOfRecipientInput {
    recipientWalletId: WalletId! amount: FractionalCentAmount! memo: Memo expiresIn: Minutes descriptionHash: String
  }
  input LnInvoicePaymentStatusInput { paymentRequest: LnPaymentRequest! }
  type Query {
    globals: Globals
    me: User
    realtimePrice(currency: String = "USD"): RealtimePrice!
    lnInvoicePaymentStatus(input: LnInvoicePaymentStatusInput!): LnInvoicePaymentStatusPayload!
  }
  type Mutation {
    lnUsdInvoiceCreate(input: LnUsdInvoiceCreateInput!): LnInvoicePayload!
    lnUsdInvoiceCreateOnBehalfOfRecipient(input: LnUsdInvoiceCreateOnBehalfOfRecipientInput!): LnInvoicePayload!
  }
  type Subscription { myUpdates: MyUpdatesPayload! }
`);

const handedIn = [];
const paid = new Set();
const subscribers = new Set();
const seen = { operations: {}, sockets: 0, pongs: 0 };

const tick = () => ({
  __typename: "RealtimePrice",
  timestamp: Math.floor(Date.now() / 1000),
  denominatorCurrency: "USD",
  btcSatPrice: { base: 97531860000, offset: 12 },
});

function authorised(context, code) {
  if (!context.authorised) throw new GraphQLError("Not authorized", { extensions: { code } });
}

function user() {
  const wallet = { id: WALLET, walletCurrency: "USD", isExternal: false, balance: 123456.789 };
  return { defaultAccount: { id: ACCOUNT, defaultWalletId: WALLET, wallets: [wallet] } };
}

function create() {
  const invoice = handedIn.find((each) => !each.used);
  if (!invoice) return { errors: [{ __typename: "GraphQLApplicationError", message: "No invoice was handed in", code: "IBEX_ERROR" }] };
  invoice.used = true;
  return { errors: [], invoice };
}

const resolvers = {
  globals: () => ({ network: "regtest" }),
  realtimePrice: tick,
  me: (_, context) => {
    authorised(context, "NOT_AUTHORIZED");
    return user();
  },
  lnInvoicePaymentStatus: ({ input }) => ({ errors: [], status: paid.has(input.paymentRequest) ? "PAID" : "PENDING" }),
  lnUsdInvoiceCreate: (_, context) => {
    authorised(context, "NOT_AUTHORIZED");
    return create();
  },
  lnUsdInvoiceCreateOnBehalfOfRecipient: ({ input }) => {
    if (input.recipientWalletId !== WALLET) throw new GraphQLError("Not the wallet of the account");
    return create();
  },
};

const subscriptions = {
  myUpdates: (_, context) => {
    authorised(context, "NOT_AUTHENTICATED");
    return updates();
  },
};

// Not a generator: one that waits can't be ended from outside before its wait is over.
function updates() {
  const waiting = [{ __typename: "Price", base: 97531860000 }, tick()];
  let over = false;
  let wake = () => {};
  const subscriber = (update) => {
    waiting.push(update);
    wake();
  };
  subscribers.add(subscriber);
  return {
    async next() {
      while (!over && !waiting.length) await new Promise((resolve) => (wake = resolve));
      if (over) return { done: true, value: undefined };
      const update = waiting.shift();
      const me = update.__typename === "Price" ? null : user();
      return { done: false, value: { myUpdates: { errors: [], me, update } } };
    },
    async return() {
      over = true;
      subscribers.delete(subscriber);
      wake();
      return { done: true, value: undefined };
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

function count(operation, transport) {
  for (const field of operation?.selectionSet.selections ?? []) {
    const counts = (seen.operations[field.name.value] ??= { websocket: 0, http: 0 });
    counts[transport] += 1;
  }
}

function onSubscribe(_, message) {
  const operation = getOperationAST(parse(message.payload.query), message.payload.operationName);
  count(operation, "websocket");
  if (options.mode === "execute" || operation?.operation === "subscription") return undefined;
  const error = new GraphQLError("Only subscription operations are supported");
  if (options.mode === "close") throw error;
  return [error];
}

const bearer = (header) => ({ authorised: header === `Bearer ${options.token}` });

async function readJson(request) {
  let text = "";
  for await (const chunk of request) text += chunk;
  return text ? JSON.parse(text) : {};
}

async function serveGraphQL(request) {
  const shown = request.headers.authorization;
  if (shown !== undefined && (options.http === "reject" || !bearer(shown).authorised)) {
    return [401, { error: { code: 401, status: "Unauthorized", message: "Access credentials are invalid" } }];
  }
  const { query, operationName, variables } = await readJson(request);
  count(getOperationAST(parse(query), operationName), "http");
  const contextValue = bearer(shown);
  return [200, await graphql({ schema, source: query, operationName, variableValues: variables, rootValue: resolvers, contextValue })];
}

const routes = {
  "POST /graphql": serveGraphQL,
  "POST /control/invoices": async (request) => {
    handedIn.push(...(await readJson(request)).invoices);
    return [200, {}];
  },
  "POST /control/pay": async (request) => {
    const { paymentHash } = await readJson(request);
    const invoice = handedIn.find((each) => each.paymentHash === paymentHash);
    paid.add(invoice.paymentRequest);
    for (const subscriber of subscribers) subscriber({ __typename: "LnUpdate", paymentHash, status: "PAID", walletId: WALLET });
    return [200, {}];
  },
  "GET /control/seen": async () => [200, { ...seen, subscribers: subscribers.size }],
};

const server = createServer(async (request, response) => {
  const route = routes[`${request.method} ${request.url}`];
  const [status, body] = route ? await route(request) : [404, {}];
  response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(body));
});

const sockets = new WebSocketServer({ server, path: "/graphql" });
sockets.on("connection", (socket) => {
  seen.sockets += 1;
  socket.on("pong", () => (seen.pongs += 1));
});
useServer(
  {
    schema,
    roots: { query: resolvers, mutation: resolvers, subscription: subscriptions },
    context: (context) => bearer(context.connectionParams?.Authorization),
    onSubscribe,
  },
  sockets,
  options.keepAlive,
);

server.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ port: server.address().port })));
process.stdin.on("end", () => process.exit(0)).resume();
