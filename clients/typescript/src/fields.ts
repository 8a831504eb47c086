import type { DescMessage, Message, MessageInitShape } from "@bufbuild/protobuf";

/** The fields of a message of the contract, as a plain object. */
export type Fields<Schema extends DescMessage> = Exclude<MessageInitShape<Schema>, Message>;
