/** A mail as its reader gets it. */
export interface Message {
  /** Of the mail; the same in each try, and part of its Message-ID. */
  readonly id: string;
  readonly to: { readonly address: string; readonly name?: string | undefined };
  readonly subject: string;
  /** Plain text, lines ended by `\n`. */
  readonly text: string;
}

/** What takes mails on. */
export interface Post {
  /** Resolves when the mail was taken on. Throws NotSent: then it may have been all the same. */
  send(message: Message, signal: AbortSignal): Promise<void>;
  /** Leaves. */
  close(): void;
}

/** Why a mail was not sent; says neither to whom nor what was in it. */
export class NotSent extends Error {
  /** Whether another try is of no use. */
  readonly forGood: boolean;
  /** Whether it was about this mail alone; otherwise others won't fare better. */
  readonly ofThisMail: boolean;

  constructor(message: string, { forGood = false, ofThisMail = false, cause }: Partial<NotSent> = {}) {
    super(message, { cause });
    this.forGood = forGood;
    this.ofThisMail = ofThisMail;
  }
}
